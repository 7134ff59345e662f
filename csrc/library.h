// Libraries that are opened at run time.
#ifndef GORUN_LIBRARY_H
#define GORUN_LIBRARY_H

typedef struct {  // one of a library's functions, and where to keep it
  const char *name;
  void **to;
} gorun_symbol;

// gorun_library opens a library, never to close it, and finds its functions, of which the last has no name. lacking says
// what it means if one is not there, as a format of its name; NULL: the linker's words. It returns 0, or a code and *err.
int gorun_library(const char *path, const gorun_symbol *symbols, const char *lacking, char **err);

#endif
