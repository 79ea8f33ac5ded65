// Decodes Opus streams with speech enhancement until its standard input ends:
// `node opus_ml.mjs PACKAGE lace|nolace`, PACKAGE being the folder of @wasm-audio-decoders/opus-ml.
//
// A request is the size of a stream (uint32) and the stream: packets, each behind its size
// (uint16). The answer is the number of samples (uint32) and the samples (float32), 16 kHz mono;
// 2^32 - 1 samples stand for a packet that cannot be decoded. All of it is little-endian.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, speechQualityEnhancement] = process.argv.slice(2);
const { OpusMLDecoder } = await import(pathToFileURL(join(folder, "index.js")));
const decoder = new OpusMLDecoder({ sampleRate: 16000, channels: 1, speechQualityEnhancement });
await decoder.ready;

function split(stream) {
  const packets = [];
  for (let at = 0; at < stream.length; ) {
    const size = stream.readUInt16LE(at);
    packets.push(stream.subarray(at + 2, at + 2 + size));
    at += 2 + size;
  }
  return packets;
}

async function answer(stream) {
  await decoder.reset();
  const { channelData, samplesDecoded, errors } = decoder.decodeFrames(split(stream));
  const count = Buffer.alloc(4);
  count.writeUInt32LE(errors.length ? 0xffffffff : samplesDecoded);
  process.stdout.write(count);
  if (!errors.length) {
    const samples = channelData[0];
    process.stdout.write(Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength));
  }
}

let input = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  input = Buffer.concat([input, chunk]);
  while (input.length >= 4 && input.length >= 4 + input.readUInt32LE(0)) {
    const end = 4 + input.readUInt32LE(0);
    await answer(input.subarray(4, end));
    input = input.subarray(end);
  }
}
