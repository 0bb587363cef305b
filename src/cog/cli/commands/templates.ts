/** The files that `cog init` writes, by name. `folder` becomes the package's name. */
export function projectFiles(folder: string): [string, string][] {
  const name =
    folder
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, "-")
      .replace(/^[._-]+/, "") || "model";
  return [
    ["cog.yaml", config],
    ["predict.ts", predictor],
    ["train.ts", trainer],
    ["package.json", packageJson(name)],
    ["tsconfig.json", tsconfig],
    ["Dockerfile", dockerfile],
    [".dockerignore", "node_modules\n.git\n.cog\n"],
    ["README.md", readme(name)],
  ];
}

const config = `# What \`cog\` finds here. predict.ts means its default export; predict.ts:name another one.
predict: predict.ts
train: train.ts
# The name of the file that a training writes.
train_output: counts.json
`;

const predictor = `import { definePredictor, Input, Output } from "llama-lora-cog/cog";

export default definePredictor({
  inputs: {
    name: Input.string({ description: "Who is greeted" }),
    times: Input.integer({ description: "How often", default: 1, ge: 1, le: 10 }),
    counts: Input.path({ description: "A file that a training wrote" }).optional(),
  },
  output: Output.concatenateIterator(),

  // Runs once, before the first prediction: load weights here.
  async setup() {
    return { greeting: "Hello" };
  },

  // Runs for every prediction; each piece is sent as soon as it is yielded.
  async *predict({ name, times, counts }, { model }) {
    for (let i = 0; i < times; i++) yield \`\${i > 0 ? " " : ""}\${model.greeting}, \${name}!\`;
    if (counts) yield \` The training counted \${JSON.parse(await counts.text()).words} words.\`;
  },
});
`;

const trainer = `import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineTrainer, Input, Output, Path, UserError } from "llama-lora-cog/cog";

export default defineTrainer({
  inputs: {
    dataset: Input.path({ description: "Text to learn from" }),
  },
  output: Output.object({ weights: Output.path() }),

  async train({ dataset }, { tempDir, log }) {
    const words = (await dataset.text()).split(/\\s+/).filter(Boolean).length;
    if (words === 0) throw new UserError(\`\${dataset.name} holds no words\`);
    log(\`counted \${words} words\`);
    const file = join(tempDir, "counts.json");
    await writeFile(file, JSON.stringify({ words }));
    return { weights: new Path(file) };
  },
});
`;

const dockerfile = `# Built by \`cog build\`, which hands in the package as the build contexts llama-lora-cog and llama-lora-cog-dist.
FROM node:22-bookworm-slim AS package
WORKDIR /opt/llama-lora-cog
COPY --from=llama-lora-cog package.json ./
RUN npm install --omit=dev --ignore-scripts --no-audit --no-fund
# --build-arg ENGINE=1 compiles the native engine, for models that import "llama-lora-cog" and bring weights.
ARG ENGINE
COPY --from=llama-lora-cog scripts ./scripts
COPY --from=llama-lora-cog native ./native
RUN [ -z "$ENGINE" ] || { apt-get update && apt-get install -y --no-install-recommends g++ make cmake \\
  && node scripts/build-native.mjs && rm -rf build/native/CMake* build/native/*.a; } && rm -rf native
COPY --from=llama-lora-cog-dist . ./dist

FROM node:22-bookworm-slim
# build.system_packages and build.run of cog.yaml.
ARG COG_SYSTEM_PACKAGES
RUN [ -z "$COG_SYSTEM_PACKAGES" ] || { apt-get update && apt-get install -y --no-install-recommends $COG_SYSTEM_PACKAGES \\
  && rm -rf /var/lib/apt/lists/*; }
COPY --from=package /opt/llama-lora-cog /opt/llama-lora-cog
# Clients start images as they start Python ones; this answers them.
COPY --from=llama-lora-cog deploy/python /usr/local/bin/python
ENV NODE_ENV=production COG_APP_DIR=/opt/llama-lora-cog
WORKDIR /src
# The project's own packages. This one is there already, and a path to it on another machine would lead nowhere.
COPY package.json package-lock.json* ./
RUN npm pkg delete dependencies.llama-lora-cog devDependencies.llama-lora-cog \\
  && npm install --omit=dev --no-audit --no-fund
ARG COG_BUILD_RUN
RUN sh -c "$COG_BUILD_RUN"
COPY . .
USER node
EXPOSE 5000
CMD ["python", "-m", "cog.server.http"]
`;

function packageJson(name: string): string {
  const value = { name, version: "0.1.0", private: true, type: "module", scripts: { start: "cog serve" } };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

const tsconfig = `{
  "compilerOptions": {
    "target": "es2023",
    "module": "nodenext",
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "allowImportingTsExtensions": true,
    "erasableSyntaxOnly": true
  }
}
`;

function readme(name: string): string {
  return `# ${name}

\`\`\`sh
cog predict -i name=Ada -i times=2      # one prediction, printed
cog train -i dataset=@README.md         # one training, written to counts.json
cog predict -i name=Ada -i counts=@counts.json
cog serve                               # the same over HTTP, on port 5000
cog build -t ${name}                    # an image that Cog's clients know
curl -s localhost:5000/predictions -H 'content-type: application/json' -d '{"input": {"name": "Ada"}}'
\`\`\`

\`predict.ts\` and \`train.ts\` declare their inputs once; the schema (\`cog schema\`), the checks and the types follow from that.
The commands need no packages in this folder. For types in an editor, add \`llama-lora-cog\` and \`@types/node\` to it.
What \`npm install\` adds to package.json comes into the image too; Debian packages and commands do by cog.yaml:

\`\`\`yaml
build:
  system_packages: [ffmpeg]
  run: ["ffmpeg -version"]
\`\`\`
`;
}
