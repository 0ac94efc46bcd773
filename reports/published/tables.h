// The tables, one function each; internal to reports/published.
#pragma once

#include "reports/published/published.h"

namespace stowage::published {

const Table& BigModelInference();  // accelerate.cc
const Table& ModelLoading();       // accelerate.cc
const Table& FlexLlmGen();         // accelerate.cc
const Table& Bloom176B();          // bloom.cc
const Table& NglSweep();           // llamacpp.cc

}  // namespace stowage::published
