// The first of a few bytes in a run of bytes, and how often one is there, sixteen at a time where
// the processor can (every x86-64 can).
#pragma once

#include <cstddef>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pgshunt {

// `end` if there is none.
template <class... Chars>
inline const char* find_any(const char* at, const char* end, Chars... wanted) {
#if defined(__SSE2__)
  while (end - at >= 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i hits = (... | _mm_cmpeq_epi8(block, _mm_set1_epi8(wanted)));
    const int mask = _mm_movemask_epi8(hits);
    if (mask != 0) return at + __builtin_ctz(static_cast<unsigned>(mask));
    at += 16;
  }
#endif
  while (at < end && (... && (*at != wanted))) ++at;
  return at;
}

// How often it is there.
inline std::size_t count_byte(const char* at, const char* end, char wanted) {
  std::size_t count = 0;
#if defined(__SSE2__)
  const __m128i pattern = _mm_set1_epi8(wanted);
  while (end - at >= 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(block, pattern));
    // Mostly there is none: popcount is no instruction that every x86-64 has.
    if (mask != 0) {
      count += static_cast<std::size_t>(__builtin_popcount(static_cast<unsigned>(mask)));
    }
    at += 16;
  }
#endif
  for (; at < end; ++at) count += *at == wanted ? 1 : 0;
  return count;
}

}  // namespace pgshunt
