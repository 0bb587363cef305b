// The heap of a kernel's test on a card.
#pragma once

// From here on operator new gives memory that host and card both see, of which there is only so much. Ends the program in one
// line where there is no card. Called in main: before it CUDA must not be used.
void open_managed_heap();
