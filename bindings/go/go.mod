module gradclip

go 1.19
