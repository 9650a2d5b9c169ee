// culet: Gemma 4 on your own machine. The whole C++ interface.
#pragma once

#include "culet/error.h"
#include "culet/find.h"
#include "culet/generate.h"
#include "culet/hub.h"
#include "culet/json.h"
#include "culet/machine.h"
#include "culet/model.h"
#include "culet/text.h"
#include "culet/tools.h"
