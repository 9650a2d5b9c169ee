// What is visible outside the library.
#pragma once

#define CULET_EXPORT __attribute__((visibility("default")))
