// If this fails, numbers, letter case or white space come out of a template otherwise than Python
// has them, and a prompt differs from the one that the model was trained with.
#include "text/python_text.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"

namespace culet {
namespace {

TEST(PythonText, WritesNumbersAsPythonDoes) {
  EXPECT_EQ(python::FloatRepr(1.0), "1.0");
  EXPECT_EQ(python::FloatRepr(-0.0), "-0.0");
  EXPECT_EQ(python::FloatRepr(1e16), "1e+16");
  EXPECT_EQ(python::FloatRepr(9999999999999998.0), "9999999999999998.0");
  EXPECT_EQ(python::FloatRepr(1e-4), "0.0001");
  EXPECT_EQ(python::FloatRepr(1e-5), "1e-05");
  EXPECT_EQ(python::FloatRepr(-1.25e-7), "-1.25e-07");
  EXPECT_EQ(python::FloatRepr(123456789012345.6), "123456789012345.6");
  EXPECT_EQ(python::FloatRepr(5e-324), "5e-324");
  EXPECT_EQ(python::FloatRepr(1.7976931348623157e308), "1.7976931348623157e+308");
}

TEST(PythonText, KnowsUnicode) {
  EXPECT_EQ(python::Upper("straße ﬁ ǆ i 𐐨"), "STRASSE FI Ǆ I 𐐀");
  EXPECT_EQ(python::Lower("ΟΔΟΣ ΣΑ İ Straße 𐐀"), "οδος σα i̇ straße 𐐨");
  EXPECT_EQ(python::Strip("\u3000\u00a0 a\u2003b \x1c\u2028"), "a\u2003b");
  EXPECT_EQ(python::Strip("\u200b"), "\u200b");
  EXPECT_EQ(python::Strip(" \u3000 "), "");
  EXPECT_EQ(
      python::Str(OrderedJson::parse(R"(["it's", "q\"", "\u200b\u0001é", {"k": [null, true]}])")),
      R"(["it's", 'q"', '\u200b\x01é', {'k': [None, True]}])");
}

TEST(PythonText, LeavesBrokenUtf8Alone) {
  EXPECT_EQ(python::Upper("a\xff\xe2\x80"), "A\xff\xe2\x80");
  EXPECT_EQ(python::Lower("\xce\xa3\xff\xce"), "\xcf\x83\xff\xce");
  EXPECT_EQ(python::Strip("\xe2\x80 \x80"), "\xe2\x80 \x80");
}

}  // namespace
}  // namespace culet
