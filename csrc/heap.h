// How the C heap keeps memory between the programs of a CPU client.
#ifndef GORUN_HEAP_H
#define GORUN_HEAP_H

// gorun_heap_keep makes the heap keep freed memory; call it before the client that allocates on it is made.
void gorun_heap_keep(void);

// gorun_heap_huge asks for huge pages where the heap has grown since the last call. It is cheap when it has not.
void gorun_heap_huge(void);

#endif
