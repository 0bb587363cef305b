# ---- the GPU module: llama_cuda.so for cards (LLAMA_CUDA), and the same sources for the host (LLAMA_TESTS), where a small
# header runs the kernels thread by thread.
option(LLAMA_GPU_PROGRAMS "With LLAMA_CUDA: targets gpu_programs, the kernels' tests on a card, and gpu_bench" OFF)
set(LLAMA_CUDA_KERNELS
  attention_cached attention_decode attention_decode_f32 attention_packed_backward attention_packed_f32 attention_packed_forward
  attention_packed_query_terms attention_prefill attention_prefill_f32 attention_store batch_linear decode_linear
  decode_tensor dropout loss lora norm optimisation plain_product quantize rotary rows sampling)
list(TRANSFORM LLAMA_CUDA_KERNELS PREPEND kernels/cuda/)
list(TRANSFORM LLAMA_CUDA_KERNELS APPEND .cu)
# Host code: plain C++ on top of the CUDA runtime.
set(LLAMA_CUDA_HOST
  attention_plan cuda_ops frozen_weights gpu gpu_module graph lora_pass nvml page_pool pinned_ring probe)
list(TRANSFORM LLAMA_CUDA_HOST PREPEND kernels/cuda/)
list(TRANSFORM LLAMA_CUDA_HOST APPEND .cpp)
set(LLAMA_CUDA_TESTS
  attention_cached attention_packed batch_linear decode_linear decode_terms engine engine_blocks engine_memory engine_non_finite
  gemm gpu lora loss_and_optimisation page_pool quantize rotary rows sampling)
# These are about the emulated runtime and the host's own bookkeeping.
set(LLAMA_HOST_ONLY_TESTS engine_memory gpu page_pool)

if(LLAMA_CUDA)
  # Real code for every supported generation, and PTX of the newest for later ones.
  set(LLAMA_CUDA_ALL OFF)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(LLAMA_CUDA_ALL ON)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 90-virtual)
  endif()
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  # Not every toolkit's nvcc knows where its libcudart_static.a is.
  set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -L${LLAMA_CUDA_LIBRARIES}")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  if(LLAMA_CUDA_ALL AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND CMAKE_CUDA_ARCHITECTURES 100-real 120-real)
  endif()
  list(JOIN CMAKE_CUDA_ARCHITECTURES " " LLAMA_CUDA_CODE)
  set_source_files_properties(kernels/cuda/probe.cpp PROPERTIES COMPILE_DEFINITIONS "LLAMA_CUDA_CODE=\"${LLAMA_CUDA_CODE}\"")
  # Older CMakes do not know how newer compilers are asked for C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  # What names kernels' headers is nvcc's to compile.
  set_source_files_properties(kernels/cuda/cuda_ops.cpp kernels/cuda/frozen_weights.cpp kernels/cuda/gpu_module.cpp
    kernels/cuda/lora_pass.cpp PROPERTIES LANGUAGE CUDA)
  llama_add_model(llama_gpu_model)
  target_compile_definitions(llama_gpu_model PUBLIC LLAMA_16_BIT_ACTIVATIONS)
  function(llama_add_cuda_kernels name)
    add_library(${name} STATIC EXCLUDE_FROM_ALL
      ${LLAMA_CUDA_KERNELS} ${LLAMA_CUDA_HOST} kernels/cuda/cublas.cpp kernels/cuda/gemm.cpp)
    target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${LLAMA_CUBLAS_INCLUDE})
    target_link_libraries(${name} PUBLIC llama_gpu_model ${CMAKE_DL_LIBS} rt)
  endfunction()
  llama_add_cuda_kernels(llama_cuda_kernels)
  add_library(llama_cuda MODULE EXCLUDE_FROM_ALL kernels/cuda/gpu_module.cpp)
  set_target_properties(llama_cuda PROPERTIES PREFIX "" LINKER_LANGUAGE CUDA)
  target_link_libraries(llama_cuda PRIVATE llama_cuda_kernels)
endif()

# The tests: on the host under AddressSanitizer, with LLAMA_GPU_PROGRAMS on the card.
function(llama_add_cuda_test name prefix label)
  add_executable(${prefix}_${name}_test EXCLUDE_FROM_ALL test/cuda/${name}_test.cpp ${ARGN})
  add_test(NAME ${prefix}_${name} COMMAND ${prefix}_${name}_test)
  set_tests_properties(${prefix}_${name} PROPERTIES LABELS ${label})
endfunction()

if(LLAMA_CUDA AND LLAMA_GPU_PROGRAMS)
  enable_testing()
  # The kernels' tests read results as soon as they have launched, on a heap that they share with the card.
  llama_add_cuda_kernels(llama_synchronous_kernels)
  target_compile_definitions(llama_synchronous_kernels PUBLIC LLAMA_CUDA_SYNCHRONOUS)
  target_sources(llama_synchronous_kernels PRIVATE kernels/reference/quantized.cpp)
  add_custom_target(gpu_programs)
  foreach(name ${LLAMA_CUDA_TESTS})
    if(name IN_LIST LLAMA_HOST_ONLY_TESTS)
      continue()
    endif()
    if(name MATCHES "^engine")
      llama_add_cuda_test(${name} gpu gpu kernels/reference/quantized.cpp model/load_on_cpu.cpp)
      target_link_libraries(gpu_${name}_test PRIVATE llama_cuda_kernels)
    else()
      llama_add_cuda_test(${name} gpu gpu test/cuda/managed_heap.cpp)
      target_link_libraries(gpu_${name}_test PRIVATE llama_synchronous_kernels)
    endif()
    set_source_files_properties(test/cuda/${name}_test.cpp PROPERTIES LANGUAGE CUDA)
    set_tests_properties(gpu_${name} PROPERTIES RUN_SERIAL ON SKIP_REGULAR_EXPRESSION "^skipped:")
    add_dependencies(gpu_programs gpu_${name}_test)
  endforeach()
  # Against a stand-in for the library; needs its header and no card.
  add_library(cublas_on_host SHARED EXCLUDE_FROM_ALL test/cuda/cublas_on_host.cpp)
  set_target_properties(cublas_on_host PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/cublas_on_host OUTPUT_NAME cublasLt)
  target_compile_options(cublas_on_host PRIVATE -fvisibility=default)
  foreach(major 12 13)
    add_custom_command(TARGET cublas_on_host POST_BUILD
      COMMAND ${CMAKE_COMMAND} -E create_symlink libcublasLt.so ${CMAKE_BINARY_DIR}/cublas_on_host/libcublasLt.so.${major})
  endforeach()
  llama_add_cuda_test(gemm_cublas gpu gpu kernels/cuda/gemm.cpp kernels/cuda/cublas.cpp kernels/cuda/gpu.cpp kernels/cuda/pinned_ring.cpp)
  foreach(target cublas_on_host gpu_gemm_cublas_test)
    target_include_directories(${target} SYSTEM PRIVATE ${LLAMA_CUBLAS_INCLUDE} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  endforeach()
  target_link_libraries(gpu_gemm_cublas_test PRIVATE llama_kernels ${CMAKE_DL_LIBS})
  add_dependencies(gpu_gemm_cublas_test cublas_on_host)
  add_dependencies(gpu_programs gpu_gemm_cublas_test)
  add_executable(gpu_bench EXCLUDE_FROM_ALL bench/gpu_bench.cpp)
  set_target_properties(gpu_bench PROPERTIES LINKER_LANGUAGE CUDA)
  target_link_libraries(gpu_bench PRIVATE llama_cuda_kernels)
endif()

if(LLAMA_TESTS AND NOT LLAMA_CUDA AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|aarch64")
  set(LLAMA_EMULATION_OPTIONS -O1 -g1 -fsanitize=address -fno-omit-frame-pointer)
  set_source_files_properties(${LLAMA_CUDA_KERNELS} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
  llama_add_model(llama_emulated_model model/load_on_cpu.cpp)
  target_compile_options(llama_emulated_model PUBLIC ${LLAMA_EMULATION_OPTIONS})
  target_compile_definitions(llama_emulated_model PUBLIC LLAMA_16_BIT_ACTIVATIONS)
  add_library(llama_emulated_cuda STATIC EXCLUDE_FROM_ALL ${LLAMA_CUDA_KERNELS} ${LLAMA_CUDA_HOST}
    kernels/reference/quantized.cpp model/load_on_cpu.cpp test/cuda/gemm_emulated.cpp)
  target_compile_definitions(llama_emulated_cuda PUBLIC LLAMA_CUDA_EMULATED)
  target_compile_options(llama_emulated_cuda PRIVATE -Wno-unknown-pragmas -Wno-subobject-linkage)
  target_link_options(llama_emulated_cuda PUBLIC -fsanitize=address)
  target_link_libraries(llama_emulated_cuda PUBLIC llama_emulated_model ${CMAKE_DL_LIBS})
  foreach(name ${LLAMA_CUDA_TESTS})
    llama_add_cuda_test(${name} emulated host)
    set_target_properties(emulated_${name}_test PROPERTIES EXCLUDE_FROM_ALL OFF)
    target_compile_options(emulated_${name}_test PRIVATE -Wno-unknown-pragmas)
    target_link_libraries(emulated_${name}_test PRIVATE llama_emulated_cuda)
  endforeach()
endif()
