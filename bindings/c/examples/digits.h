/* digits.h - reads data/digits.txt: 1797 images of 8 by 8 pixels, 0 ... 16, and what
 * they show. For the examples in C and C++. */
#ifndef DIGITS_H
#define DIGITS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 1797, DIGIT_PIXELS = 64, DIGIT_TRAINING = 1500 }; /* the rest is for testing */

typedef struct digits {
    float pixels[DIGITS][DIGIT_PIXELS]; /* between 0 and 1 */
    int label[DIGITS];
} digits;

/* Ends the program with a message if the file is not what it should be. */
static digits *read_digits(const char *path)
{
    FILE *file = fopen(path, "r");
    digits *d = (digits *)calloc(1, sizeof *d);
    char line[128];
    int i = 0;
    for (; d != NULL && file != NULL && i < DIGITS && fgets(line, sizeof line, file) != NULL; i++) {
        for (int k = 0; k < DIGIT_PIXELS; k++) {
            const char *symbols = "0123456789abcdefg", *at = line[k] ? strchr(symbols, line[k]) : NULL;
            if (at == NULL) break;
            d->pixels[i][k] = (float)(at - symbols) / 16.0f;
        }
        d->label[i] = line[DIGIT_PIXELS + 1] - '0';
        if (d->label[i] < 0 || d->label[i] > 9) break;
    }
    if (file != NULL) fclose(file);
    if (i != DIGITS) {
        fprintf(stderr, "%s is not the file of %d digits\n", path, (int)DIGITS);
        exit(1);
    }
    return d;
}

#endif
