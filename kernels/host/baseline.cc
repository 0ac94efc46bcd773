// Compiled for its instruction set by BUILD; reached only through SupportedHostIsas.
#define STOWAGE_ISA baseline
#define STOWAGE_ISA_NAME "baseline"
#define STOWAGE_ISA_TABLE kHostBaseline
#include "kernels/host/loops.inc"
