// NumPy's files, read for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace culet {

// Header and values of a .npy file of version 1.0.
inline std::vector<float> ReadNpy(const std::string& file, const std::string& shape) {
  EXPECT_EQ(file.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const std::size_t length =
      static_cast<unsigned char>(file[8]) + 256u * static_cast<unsigned char>(file[9]);
  EXPECT_EQ((10 + length) % 64, 0u);
  const std::string header = file.substr(10, length);
  EXPECT_NE(header.find("'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }"),
            std::string::npos)
      << header;
  EXPECT_EQ(header.back(), '\n');
  std::vector<float> values((file.size() - 10 - length) / sizeof(float));
  std::memcpy(values.data(), file.data() + 10 + length, values.size() * sizeof(float));
  return values;
}

}  // namespace culet
