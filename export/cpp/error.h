// The user's mistake: what, got, where. main() prints it as one line.
#pragma once

#include <stdexcept>

struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
