// culet: Gemma 4 on your own machine. The whole C++ interface.
//
// What holds where nothing else is said: views (std::span, std::string_view) are read during the
// call only; what a function returns by value is the caller's. What can go wrong is thrown as
// culet::Error; what a callback throws comes out of the function that called it. Sizes are bytes,
// counts are tokens, times are suffixed (_ms, _s), text is UTF-8.
#pragma once

#include "culet/embed.h"
#include "culet/error.h"
#include "culet/features.h"
#include "culet/find.h"
#include "culet/generate.h"
#include "culet/hub.h"
#include "culet/json.h"
#include "culet/machine.h"
#include "culet/media.h"
#include "culet/model.h"
#include "culet/quantize.h"
#include "culet/text.h"
#include "culet/tools.h"
