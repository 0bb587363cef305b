// Ranks that mpirun has started. The one entry point of llama_mpi.so, which is built where MPI is installed and opened
// at run time, so that the engine itself does not need MPI.
#pragma once
#include "communicator.h"
#include "waiting.h"

// Joins MPI_COMM_WORLD; the caller owns the result. A process can do so once, and makes all further calls from the same
// thread. Waits for the other ranks to start as long as MPI does. Throws EngineError DISTRIBUTED_UNAVAILABLE,
// DISTRIBUTED_ENVIRONMENT when MPI gives this process another place than its variables say.
extern "C" __attribute__((visibility("default"))) llama::Communicator* llama_join_mpi(int rank, int size,
                                                                                     const llama::Waiting& waiting);
