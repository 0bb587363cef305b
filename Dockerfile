# The model as an image: `docker build -t llama-lora-cog .` makes the GPU stage, `--target cpu` the small one.
ARG BASE_IMAGE=node:22-bookworm-slim
# --build-arg TENSORFLOW=1 adds the TensorFlow engine's binding (and with it TensorFlow for CUDA 12, some gigabytes).
ARG TENSORFLOW

# Compilers and development packages stay in these stages.
FROM ${BASE_IMAGE} AS engine
RUN apt-get update \
  && apt-get install -y --no-install-recommends g++ make cmake \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm install --no-save --include=dev --ignore-scripts --no-audit --no-fund
# The engine takes the longest and changes the least.
COPY scripts/build-native.mjs scripts/native-sources.mjs scripts/folders.mjs ./scripts/
COPY native ./native
RUN node scripts/build-native.mjs

FROM engine AS build
COPY . .
# Source maps of packages are for debuggers.
RUN node scripts/build-dist.mjs \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules -type f -name '*.map' -delete \
  && rm -rf build/native/CMake* build/native/Makefile build/native/cmake_install.cmake build/native/*.a

FROM ${BASE_IMAGE} AS cpu
# The init process; Node itself brings the C++ runtime that the engine needs.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
COPY deploy/python /usr/local/bin/python
RUN ln -s /src/scripts/llama-lora.mjs /usr/local/bin/llama-lora
WORKDIR /src
COPY --from=build /src/package.json /src/cog.yaml /src/predict.ts /src/train.ts /src/tsconfig.json ./
COPY --from=build /src/scripts/cog.mjs /src/scripts/llama-lora.mjs /src/scripts/built-command.mjs ./scripts/
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

# NVIDIA's compiler and cuBLASLt come as wheels; pip trusts the authorities that the system trusts.
FROM engine AS engine-gpu
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
COPY scripts/build-cuda.mjs ./scripts/
# --build-arg CUDA_ARCHITECTURES=89-real builds for one kind of card (docs/gpu.md) in a fraction of the time.
ARG CUDA_ARCHITECTURES
RUN PIP_CERT=/etc/ssl/certs/ca-certificates.crt node scripts/build-cuda.mjs \
  && cp build/cuda-toolkit/lib/python*/site-packages/nvidia/cu*/lib/libcublasLt.so.?? build/native/ \
  && rm -rf build/cuda-toolkit build/native-cuda

FROM build AS tensorflow-0
RUN mkdir /opt/tensorflow

FROM build AS tensorflow-1
ARG TENSORFLOW_PACKAGE="tensorflow[and-cuda]==2.21.0"
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /tmp/venv \
  && PIP_CERT=/etc/ssl/certs/ca-certificates.crt /tmp/venv/bin/pip install --quiet --target /opt/tensorflow/wheel "$TENSORFLOW_PACKAGE" \
  && node scripts/tensorflow-binding.mjs /opt/tensorflow/wheel /opt/tensorflow/binding \
  && rm -rf /tmp/venv /opt/tensorflow/binding/node_modules/node-gyp

FROM tensorflow-${TENSORFLOW:-0} AS tensorflow

# The GPU image: the same, the GPU module beside the addon, and the library that it opens. Without a card it runs on the CPU.
FROM cpu AS gpu
COPY --from=engine-gpu /src/build/native/llama_cuda.so /src/build/native/libcublasLt.so.* ./build/native/
COPY --from=tensorflow /opt/tensorflow /opt/tensorflow
ARG TENSORFLOW
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV LLAMA_TF_MODULE=${TENSORFLOW:+/opt/tensorflow/binding/node_modules/@tensorflow/tfjs-node-gpu}
