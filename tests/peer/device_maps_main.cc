// Reads one case per line of standard input, writes one result per line: our side of tests/peer/device_maps.py.
#include <iostream>
#include <string>

#include "tests/peer/device_map_case.h"

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) std::cout << stowage::RunDeviceMapCase(line) << std::endl;
  return 0;
}
