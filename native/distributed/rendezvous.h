// How ranks find each other over TCP: rank 0 listens, the others come to it.
#pragma once
#include <vector>

#include "socket.h"

namespace llama {

// On rank 0: connections to ranks 1 .. size - 1, the element 0 unused. What comes to the port and is no rank of this
// group is turned away. Throws EngineError DISTRIBUTED_RENDEZVOUS naming who is missing.
std::vector<Socket> gather_ranks(const std::string& host, int port, int size, const Waiting& waiting);

// On the others: the connection to rank 0, which may start later. Throws EngineError DISTRIBUTED_RENDEZVOUS with the
// reason of the last attempt.
Socket join_ranks(const std::string& host, int port, int rank, int size, const Waiting& waiting);

}  // namespace llama
