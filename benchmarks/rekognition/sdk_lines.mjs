// Asks by the JavaScript SDK: a call a line from standard input, an answer a line back.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const sdk = createRequire(`${process.env.SDK_FOLDER}/`)("@aws-sdk/client-rekognition");
const client = new sdk.RekognitionClient({ maxAttempts: 1 });

// With bytes where the parent wrote {"base64": …}.
const read = (name, value) => (value && value.base64 !== undefined ? Buffer.from(value.base64, "base64") : value);

for await (const line of createInterface({ input: process.stdin })) {
  const [operation, members] = JSON.parse(line, read);
  try {
    const { $metadata, ...answer } = await client.send(new sdk[`${operation}Command`](members));
    console.log(JSON.stringify({ answer }));
  } catch (error) {
    console.log(JSON.stringify({ code: error.name, message: error.message }));
  }
}
