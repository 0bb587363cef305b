# The model as an image: `docker build -t llama-lora-cog .` makes the GPU stage, `--target cpu` the small one.
ARG BASE_IMAGE=node:22-bookworm-slim

# Compilers and development packages stay in this stage.
FROM ${BASE_IMAGE} AS build
RUN apt-get update \
  && apt-get install -y --no-install-recommends g++ make cmake \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm install --no-save --include=dev --ignore-scripts --no-audit --no-fund
# The engine takes the longest and changes the least.
COPY scripts/build-native.mjs ./scripts/
COPY native ./native
RUN node scripts/build-native.mjs
COPY . .
# Most of the packages' size is source maps, which are for debuggers, and bundles for browsers.
RUN node scripts/build-dist.mjs \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules -type f -name '*.map' -delete \
  && find node_modules/@tensorflow -type f \
    \( -name '*.min.js*' -o -name '*fesm*' -o -name '*es2017*' -o -name '*_test.js' \) -delete

FROM ${BASE_IMAGE} AS cpu
# The init process; Node itself brings the C++ runtime that the engine needs.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
COPY deploy/python /usr/local/bin/python
WORKDIR /src
COPY --from=build /src/package.json /src/cog.yaml /src/predict.ts /src/train.ts /src/tsconfig.json ./
COPY --from=build /src/scripts/cog.mjs ./scripts/cog.mjs
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/build ./build
COPY --from=build /src/dist ./dist
COPY --from=build /src/src ./src
COPY --from=build /src/weights ./weights
ENV NODE_ENV=production
# Nothing is written below /src: the root file system may be read-only, runs keep their files in /tmp.
USER node
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 5000}/health-check`).then((answer) => answer.json()).then(({ status }) => process.exit(['READY', 'BUSY', 'STARTING'].includes(status) ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "cog.server.http"]

# The GPU image. The CUDA module of the engine follows; until then this stage runs the model on the CPU of a GPU host.
FROM cpu AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
