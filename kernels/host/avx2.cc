// Compiled for its instruction set by BUILD; reached only through SupportedHostIsas.
#define STOWAGE_ISA avx2
#define STOWAGE_ISA_NAME "avx2"
#define STOWAGE_ISA_TABLE kHostAvx2
#include "kernels/host/loops.inc"
