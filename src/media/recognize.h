// Whether a file holds something that a model can be shown, without decoding it.
#pragma once

#include "media/source.h"

namespace culet {

enum class FileKind { kOther, kPicture, kSound, kClip };

// By content, whatever the name; containers are opened to see whether there are moving pictures in
// them. One that is damaged is kOther. Throws Error(kIo). Any thread.
FileKind RecognizeFile(MediaSource& source);

}  // namespace culet
