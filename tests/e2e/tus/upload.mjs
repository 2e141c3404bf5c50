// Uploads a file by tus-js-client: node upload.mjs ENDPOINT TOKEN FILE. Prints the upload's URL.
// Breaks off once in the middle, as a link would, and goes on from there.
import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, token, path] = process.argv.slice(2);
const size = statSync(path).size;
const options = {
  endpoint,
  headers: { Authorization: `Token ${token}` },
  metadata: { filename: "model.pt" },
  chunkSize: 1 << 20,
  uploadSize: size,
};

function send(more) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(createReadStream(path), {
      ...options,
      ...more,
      onError: reject,
      onSuccess: () => resolve(upload),
      onChunkComplete: (_, sent) => {
        if (!more.uploadUrl && sent > size / 2) upload.abort().then(() => resolve(upload), reject);
      },
    });
    upload.start();
  });
}

const begun = await send({});
const { url } = await send({ uploadUrl: begun.url });
console.log(url);
