// STOWAGE_CHECK(condition): for bugs of ours, never for bad input. Prints the place and aborts; stays on in every
// build.
#pragma once

#include <cstdio>
#include <cstdlib>

#define STOWAGE_CHECK(condition)                                                                         \
  do {                                                                                                   \
    if (!(condition)) {                                                                                  \
      std::fprintf(stderr, "%s:%d: internal error: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                      \
    }                                                                                                    \
  } while (false)
