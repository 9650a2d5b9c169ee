#!/usr/bin/env bash
# Makes the small sounds and clips of tests/media/data, and those that fuzzing begins with, which are
# committed, with the program ffmpeg. What is in them is known: a tone of 440 Hz, and frames whose left half
# tells their number.
#
#   tools/make_media_files.sh [FOLDER [CORPUS]]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-tests/media/data}
mkdir -p "$out"
make() { ffmpeg -hide_banner -loglevel error -y -fflags +bitexact -flags:v +bitexact -flags:a +bitexact "$@"; }

# One second: left 0.4, right 0.2 of full scale; their mean is 0.3.
tone=(-f lavfi -i "aevalsrc=0.4*sin(2*PI*440*t)|0.2*sin(2*PI*440*t):s=44100:d=1")
make "${tone[@]}" -c:a libmp3lame -b:a 64k "$out/tone.mp3"
make "${tone[@]}" -ar 16000 -ac 1 -c:a flac "$out/tone.flac"
make "${tone[@]}" -c:a libvorbis -q:a 3 "$out/tone.ogg"
make "${tone[@]}" -c:a libopus -b:a 48k "$out/tone.opus"
make "${tone[@]}" -c:a aac -b:a 64k "$out/tone.m4a"
make "${tone[@]}" -c:a aac -b:a 64k "$out/tone.aac"

# Frame N of 60, at 30 a second: luma 16 + 3·N on the left, 200 on the right.
frames="color=black:s=64x48:r=30:d=2,format=yuv420p,geq=lum='if(lt(X,32),16+3*N,200)':cb=128:cr=128"
clip=(-f lavfi -i "$frames")
make "${clip[@]}" "${tone[@]}" -c:v libx264 -g 12 -bf 2 -crf 12 -c:a aac -b:a 48k "$out/clip.mp4"
make "${clip[@]}" -c:v libvpx-vp9 -g 20 -b:v 0 -crf 20 "$out/clip.webm"
make "${clip[@]}" -c:v mpeg4 -g 15 -bf 2 -q:v 2 "$out/clip.avi"
# Twenty frames one after the other, then every eighth: a rate that varies.
make "${clip[@]}" -vf "select='lt(n,20)+not(mod(n,8))'" -fps_mode vfr -c:v libx264 -crf 12 "$out/varying.mp4"
make -i "$out/clip.mp4" -c copy -an -metadata:s:v rotate=90 "$out/turned.mp4"

# Pictures for tests that spoil them.
for kind in jpg png gif bmp tiff; do
  make -f lavfi -i "testsrc2=s=24x18" -frames:v 1 "$out/picture.$kind"
done
make -f lavfi -i "testsrc2=s=24x18" -frames:v 1 -c:v libwebp -quality 80 "$out/picture.webp"

# What fuzzing begins with: as short as a codec allows. A video's first byte is the target's own.
seeds=${2:-tests/fuzz/corpus}
mkdir -p "$seeds/image" "$seeds/sound" "$seeds/video"
cp "$out"/picture.* "$seeds/image"
short=(-f lavfi -i "sine=440:r=16000:d=0.06")
make "${short[@]}" -c:a libmp3lame -f mp3 "$seeds/sound/mp3"
for format in flac ogg adts; do make "${short[@]}" -f "$format" "$seeds/sound/$format"; done
make "${short[@]}" -c:a libopus -f ogg "$seeds/sound/opus"
make "${short[@]}" -c:a aac -f ipod "$seeds/sound/m4a"
make "${short[@]}" -c:a pcm_s16le -f wav "$seeds/sound/wav"
make "${short[@]}" -c:a adpcm_ms -f wav "$seeds/sound/wav-adpcm"
make "${short[@]}" -c:a pcm_f32be -f aiff "$seeds/sound/aiff"
make "${short[@]}" -c:a pcm_u8 -f avi "$seeds/sound/avi"
small=(-f lavfi -i "testsrc2=s=32x32:r=10:d=1")
make "${small[@]}" "${short[@]}" -c:v libx264 -g 4 -bf 1 -c:a aac -f mp4 "$out/seed"
{ printf '\004'; cat "$out/seed"; } >"$seeds/video/mp4"
make "${small[@]}" -c:v libvpx -g 5 -f webm "$out/seed"
{ printf '\202'; cat "$out/seed"; } >"$seeds/video/webm"
make "${small[@]}" -c:v libvpx-vp9 -g 5 -f matroska "$out/seed"
{ printf '\002'; cat "$out/seed"; } >"$seeds/video/matroska"
make "${small[@]}" -c:v mpeg4 -g 5 -bf 1 -f avi "$out/seed"
{ printf '\006'; cat "$out/seed"; } >"$seeds/video/avi"
make "${small[@]}" -c:v mjpeg -f mov "$out/seed"
{ printf '\205'; cat "$out/seed"; } >"$seeds/video/mov"
rm "$out/seed"
ls -l "$out" "$seeds"/{image,sound,video}
