# ---- the GPU module: llama_cuda.so for cards (LLAMA_CUDA), and the same sources for the host (LLAMA_TESTS), where a small
# header runs the kernels thread by thread.
set(LLAMA_CUDA_KERNELS
  attention_decode attention_decode_f32 attention_packed_backward attention_packed_forward attention_store dropout loss
  lora norm optimisation rows sampling)
list(TRANSFORM LLAMA_CUDA_KERNELS PREPEND kernels/cuda/)
list(TRANSFORM LLAMA_CUDA_KERNELS APPEND .cu)
set(LLAMA_CUDA_HOST
  attention_plan cuda_ops frozen_weights gpu gpu_module graph lora_pass nvml page_pool pinned_ring probe)
list(TRANSFORM LLAMA_CUDA_HOST PREPEND kernels/cuda/)
list(TRANSFORM LLAMA_CUDA_HOST APPEND .cpp)

if(LLAMA_CUDA)
  # Real code for every supported generation, and PTX of the newest for later ones.
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 90-virtual CACHE STRING "")
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  enable_language(CUDA)
  llama_add_model(llama_gpu_model)
  target_compile_definitions(llama_gpu_model PUBLIC LLAMA_16_BIT_ACTIVATIONS)
  add_library(llama_cuda MODULE ${LLAMA_CUDA_KERNELS} ${LLAMA_CUDA_HOST} kernels/cuda/cublas.cpp kernels/cuda/gemm.cpp)
  set_target_properties(llama_cuda PROPERTIES PREFIX "" CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden)
  target_include_directories(llama_cuda SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${LLAMA_CUBLAS_INCLUDE})
  target_link_libraries(llama_cuda PRIVATE llama_gpu_model ${CMAKE_DL_LIBS} rt)
  # The C++ runtime is the one that Node's process has already.
endif()
