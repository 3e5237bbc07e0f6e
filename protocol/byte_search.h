// The first of a few bytes in a run of bytes, sixteen at a time where the processor can (every
// x86-64 can).
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

}  // namespace pgshunt
