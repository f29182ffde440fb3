// The little of a C library that a rule needs. Blocks have sizes of powers of two; what is freed is
// kept for the next block of its size.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536u
#define HEAD 16u
#define CLASSES 32u

struct block {
  uint32_t class;
  struct block *next;
};

extern unsigned char __heap_base;
static uintptr_t heap_end;
static struct block *spare[CLASSES];

static struct block *fresh(uint32_t class) {
  uintptr_t start = heap_end ? heap_end : ((uintptr_t)&__heap_base + 15u) & ~(uintptr_t)15u;
  uint64_t end = (uint64_t)start + HEAD + ((uint64_t)1 << class);
  uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end > UINT32_MAX) return NULL;
  if (end > have && __builtin_wasm_memory_grow(0, (size_t)((end - have + PAGE - 1) / PAGE)) == (size_t)-1) return NULL;
  heap_end = (uintptr_t)end;
  struct block *block = (struct block *)start;
  block->class = class;
  return block;
}

void *malloc(size_t size) {
  uint32_t class = 4;
  while (class < CLASSES - 1 && ((size_t)1 << class) < size) class++;
  if (((size_t)1 << class) < size) return NULL;
  struct block *block = spare[class];
  if (block) {
    spare[class] = block->next;
  } else {
    block = fresh(class);
  }
  return block ? (unsigned char *)block + HEAD : NULL;
}

void free(void *at) {
  if (!at) return;
  struct block *block = (struct block *)((unsigned char *)at - HEAD);
  block->next = spare[block->class];
  spare[block->class] = block;
}

void *realloc(void *at, size_t size) {
  if (!at) return malloc(size);
  struct block *block = (struct block *)((unsigned char *)at - HEAD);
  size_t have = (size_t)1 << block->class;
  if (size <= have) return at;
  void *larger = malloc(size);
  if (larger) {
    memcpy(larger, at, have);
    free(at);
  }
  return larger;
}

void abort(void) { __builtin_trap(); }

// Instructions of their own in WebAssembly, with -mbulk-memory.
void *memcpy(void *restrict to, const void *restrict from, size_t size) { return __builtin_memcpy(to, from, size); }
void *memmove(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }
void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *x = a, *y = b;
  for (; size; size--, x++, y++) {
    if (*x != *y) return *x < *y ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

// The generated code asks for an object file that describes the contract; `millrace rule build` puts
// the description into the rule itself.
void __component_type_object_force_link_millrace_rule(void);
void __component_type_object_force_link_millrace_rule(void) {}
