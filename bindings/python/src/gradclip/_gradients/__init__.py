"""Whatever was given, as rows of the list that the library takes."""
