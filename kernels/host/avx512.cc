// Compiled for its instruction set by BUILD; reached only through SupportedHostIsas.
#define STOWAGE_ISA avx512
#define STOWAGE_ISA_NAME "avx512"
#define STOWAGE_ISA_TABLE kHostAvx512
#include "kernels/host/loops.inc"
