/* Vectors of doubles, one row of the data per lane, and the functions that the stages need of them.
 *
 * GNU vector types (GCC and Clang, any instruction set); a compiler without them gets one lane, a
 * plain double. The few places where the generic form compiles badly have a guarded intrinsic.
 * Nothing here depends on -ffast-math, and nothing may be compiled with it: x + 0.0 and NaN matter.
 */
#ifndef GAUSSMIX_VECTOR_H
#define GAUSSMIX_VECTOR_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "gaussmix must not be compiled with -ffast-math: NaN would pass unnoticed"
#endif

#ifndef GAUSSMIX_LANES
#if !defined(__GNUC__)
#define GAUSSMIX_LANES 1
#elif defined(__AVX512F__)
#define GAUSSMIX_LANES 8
#elif defined(__AVX2__)
#define GAUSSMIX_LANES 4
#else
#define GAUSSMIX_LANES 2
#endif
#endif
#define LANES GAUSSMIX_LANES

#if LANES == 8 && defined(__AVX512F__) && defined(__AVX512DQ__)
#define GAUSSMIX_AVX512 1
#include <immintrin.h>
#elif LANES == 4 && defined(__AVX2__)
#define GAUSSMIX_AVX2 1
#include <immintrin.h>
#elif LANES == 2 && defined(__SSE2__)
#define GAUSSMIX_SSE2 1
#include <emmintrin.h>
#endif

/* A tile is WIDE vectors of rows; tiles of one vector serve calls with a row or two. */
#define WIDE 4
#define NARROW 1

/* How many vectors a tile may keep in registers. */
#ifndef GAUSSMIX_REGISTERS
#if defined(__AVX512F__) || defined(__aarch64__)
#define GAUSSMIX_REGISTERS 32
#else
#define GAUSSMIX_REGISTERS 16
#endif
#endif

/* A product rounded by itself, on every instruction set: never fused with the sum it goes into. */
static inline double rounded_product(double a, double b) {
    volatile double product = a * b;
    return product;
}

/* Tiles are written once, with their sizes as arguments, and inlined with constants for them. */
#if defined(__clang__) /* does not know GCC's pragma, and left loops over registers in memory */
#define TILE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define TILE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#else
#define TILE static __forceinline
#define UNROLL
#endif

#if LANES == 1
typedef double vec;
typedef uint64_t bits;
#else
typedef double vec __attribute__((vector_size(8 * LANES), may_alias));
typedef double vec_anywhere __attribute__((vector_size(8 * LANES), may_alias, aligned(8)));
typedef uint64_t bits __attribute__((vector_size(8 * LANES), may_alias));
#endif

TILE vec v_set(double a) {
#if LANES == 1
    return a;
#elif LANES == 2
    return (vec){a, a};
#elif LANES == 4
    return (vec){a, a, a, a};
#else
    return (vec){a, a, a, a, a, a, a, a};
#endif
}

/* a * b to begin a sum of products with. Where the machine fuses, a bare product would leave it to
 * the compiler which of the first two it fuses, and so the bits. */
TILE vec v_first_term(vec a, vec b) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return v_set(0.0) + a * b;
#else
    return a * b;
#endif
}

/* Asks for the cache line at p, to be read or written soon. */
#if defined(__GNUC__)
#define FETCH(P, WRITE, LEVEL) __builtin_prefetch(P, WRITE, LEVEL)
#else
#define FETCH(P, WRITE, LEVEL) ((void)(P))
#endif

/* Aligned to the vector's size. */
TILE vec v_load(const double *p) { return *(const vec *)p; }
TILE void v_store(double *p, vec a) { *(vec *)p = a; }

/* `a`, in a register: GCC would load what is used three times or less from memory for each use. */
TILE vec v_held(vec a) {
#if defined(GAUSSMIX_AVX512)
    __asm__("" : "+v"(a));
#elif defined(GAUSSMIX_AVX2)
    __asm__("" : "+x"(a));
#endif
    return a;
}

/* Aligned to a double only. */
TILE vec v_load_anywhere(const double *p) {
#if LANES == 1
    return *p;
#else
    return *(const vec_anywhere *)p;
#endif
}
TILE void v_store_anywhere(double *p, vec a) {
#if LANES == 1
    *p = a;
#else
    *(vec_anywhere *)p = a;
#endif
}

TILE bits v_bits(vec a) {
#if LANES == 1
    bits b;
    memcpy(&b, &a, sizeof b);
    return b;
#else
    return (bits)a;
#endif
}
TILE vec v_from_bits(bits b) {
#if LANES == 1
    vec a;
    memcpy(&a, &b, sizeof a);
    return a;
#else
    return (vec)b;
#endif
}

/* a < b ? x : y, lane by lane; a NaN takes y. */
TILE vec v_select_less(vec a, vec b, vec x, vec y) {
#if LANES == 1
    return a < b ? x : y;
#elif defined(GAUSSMIX_AVX512)
    return (vec)_mm512_mask_blend_pd(
        _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ), (__m512d)y, (__m512d)x);
#elif defined(GAUSSMIX_AVX2)
    return (vec)_mm256_blendv_pd((__m256d)y, (__m256d)x,
                                 _mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_LT_OQ));
#else
    bits chosen = (bits)(a < b);
    return (vec)(((bits)x & chosen) | ((bits)y & ~chosen));
#endif
}

/* a > b ? a : b, lane by lane: a NaN in `a` gives `b`. */
TILE vec v_max(vec a, vec b) {
#if defined(GAUSSMIX_AVX512)
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(GAUSSMIX_AVX2)
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(GAUSSMIX_SSE2)
    return (vec)_mm_max_pd((__m128d)a, (__m128d)b);
#else
    return v_select_less(b, a, a, b);
#endif
}

/* a < b ? a : b, lane by lane: a NaN gives `b`. */
TILE vec v_min(vec a, vec b) {
#if defined(GAUSSMIX_AVX512)
    return (vec)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(GAUSSMIX_AVX2)
    return (vec)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(GAUSSMIX_SSE2)
    return (vec)_mm_min_pd((__m128d)a, (__m128d)b);
#else
    return v_select_less(a, b, a, b);
#endif
}

TILE vec v_abs(vec a) { return v_from_bits(v_bits(a) & (v_bits(v_set(-0.0)) ^ ~(bits){0})); }

TILE vec v_sqrt(vec a) {
#if LANES == 1
    return sqrt(a);
#elif defined(GAUSSMIX_AVX512)
    return (vec)_mm512_sqrt_pd((__m512d)a);
#elif defined(GAUSSMIX_AVX2)
    return (vec)_mm256_sqrt_pd((__m256d)a);
#elif defined(GAUSSMIX_SSE2)
    return (vec)_mm_sqrt_pd((__m128d)a);
#else
    vec root;
    for (int lane = 0; lane < LANES; lane++) root[lane] = sqrt(a[lane]);
    return root;
#endif
}

/* Bit l is set where lane l is not 0. */
TILE unsigned v_nonzero(vec a) {
#if LANES == 1
    return a != 0.0;
#elif defined(GAUSSMIX_AVX512)
    return _mm512_cmp_pd_mask((__m512d)a, _mm512_setzero_pd(), _CMP_NEQ_UQ);
#elif defined(GAUSSMIX_AVX2)
    return (unsigned)_mm256_movemask_pd(
        _mm256_cmp_pd((__m256d)a, _mm256_setzero_pd(), _CMP_NEQ_UQ));
#elif defined(GAUSSMIX_SSE2)
    return (unsigned)_mm_movemask_pd(_mm_cmpneq_pd((__m128d)a, _mm_setzero_pd()));
#else
    unsigned set = 0;
    for (int lane = 0; lane < LANES; lane++) set |= (unsigned)(a[lane] != 0.0) << lane;
    return set;
#endif
}

TILE int v_lowest(uint64_t set) { /* number of the lowest bit set */
#if defined(__GNUC__)
    return __builtin_ctzll(set);
#else
    int n = 0;
    while (!(set >> n & 1)) n++;
    return n;
#endif
}
TILE int v_count(unsigned set) { /* of its bits */
#if defined(__GNUC__)
    return __builtin_popcount(set);
#else
    int n = 0;
    for (; set; set &= set - 1) n++;
    return n;
#endif
}

/* Sum of the lanes, in a fixed order. */
TILE double v_sum(vec a) {
#if LANES == 1
    return a;
#else
    double part[LANES];
    for (int lane = 0; lane < LANES; lane++) part[lane] = a[lane];
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++) part[lane] += part[lane + width];
    return part[0];
#endif
}

/* The lanes of a and b by turns in runs of `step` lanes: the even runs of both, or the odd ones.
 * Three (two, one) such steps transpose a square of LANES vectors. */
#if LANES > 1
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#else
#define SHUFFLE(A, B, ...) __builtin_shuffle(A, B, (lanes){__VA_ARGS__})
typedef int64_t lanes __attribute__((vector_size(8 * LANES)));
#endif
TILE vec v_even(vec a, vec b, const int step) {
#if LANES == 2
    return SHUFFLE(a, b, 0, 2);
#elif LANES == 4
    return step == 1 ? SHUFFLE(a, b, 0, 4, 2, 6) : SHUFFLE(a, b, 0, 1, 4, 5);
#else
    return step == 1   ? SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
           : step == 2 ? SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
                       : SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
#endif
}
TILE vec v_odd(vec a, vec b, const int step) {
#if LANES == 2
    return SHUFFLE(a, b, 1, 3);
#elif LANES == 4
    return step == 1 ? SHUFFLE(a, b, 1, 5, 3, 7) : SHUFFLE(a, b, 2, 3, 6, 7);
#else
    return step == 1   ? SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
           : step == 2 ? SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
                       : SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
#endif
}
#endif

/* Rows become columns. */
TILE void v_transpose(vec *square) {
#if LANES > 1
    UNROLL for (int step = 1; step < LANES; step *= 2)
        UNROLL for (int i = 0; i < LANES; i++)
            if ((i & step) == 0) {
                vec even = v_even(square[i], square[i + step], step);
                square[i + step] = v_odd(square[i], square[i + step], step);
                square[i] = even;
            }
#endif
}

/* to[i] += sum of the lanes of parts[i], for four vectors at once and in a fixed order. */
TILE void v_add_sums(const vec *parts, double *to) {
#if LANES == 1
    for (int i = 0; i < 4; i++) to[i] += parts[i];
#else
    vec a = v_even(parts[0], parts[1], 1) + v_odd(parts[0], parts[1], 1);
    vec b = v_even(parts[2], parts[3], 1) + v_odd(parts[2], parts[3], 1);
#if LANES == 2
    v_store_anywhere(to, v_load_anywhere(to) + a);
    v_store_anywhere(to + 2, v_load_anywhere(to + 2) + b);
#else
    a = v_even(a, b, 2) + v_odd(a, b, 2);
#if LANES == 4
    v_store_anywhere(to, v_load_anywhere(to) + a);
#else
    typedef double vec_four __attribute__((vector_size(32), may_alias, aligned(8)));
    a += v_odd(a, a, 4);
    vec_four four;
    memcpy(&four, &a, sizeof four);
    *(vec_four *)to += four;
#endif
#endif
#endif
}

/* Lanes chosen one by one. */
#if defined(GAUSSMIX_AVX512)
typedef __mmask8 mask;
TILE mask v_at_least(vec a, vec b) {
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GE_OQ);
}
TILE vec v_keep(mask chosen, vec a) { return (vec)_mm512_maskz_mov_pd(chosen, (__m512d)a); }
TILE int v_any(mask chosen) { return chosen != 0; }
TILE mask v_every(void) { return 0xff; }
#else
typedef bits mask;
TILE mask v_at_least(vec a, vec b) {
#if LANES == 1
    return a >= b ? ~(bits)0 : 0;
#else
    return (bits)(a >= b);
#endif
}
/* `a` where chosen, 0 elsewhere. */
TILE vec v_keep(mask chosen, vec a) { return v_from_bits(v_bits(a) & chosen); }
TILE mask v_every(void) { return ~(mask){0}; }
TILE int v_any(mask chosen) {
#if defined(GAUSSMIX_AVX2)
    return _mm256_movemask_pd((__m256d)chosen) != 0;
#elif defined(GAUSSMIX_SSE2)
    return _mm_movemask_pd((__m128d)chosen) != 0;
#elif LANES == 1
    return chosen != 0;
#else
    uint64_t any = 0;
    for (int lane = 0; lane < LANES; lane++) any |= chosen[lane];
    return any != 0;
#endif
}
#endif

/* exp(a) where chosen, 0 elsewhere, for -708 <= a <= 1, of `n` vectors; under 1.25 ulp. Adding
 * 1.5 2^52 rounds to an integer m and leaves it in the low bits of the sum. The polynomials q, with
 * exp(r) = 1 + r + r^2 q(r), were fitted in the Chebyshev sense (mpmath.chebyfit).
 *
 * With a table in registers, a = m ln(2)/16 + r, |r| <= ln(2)/32: q of degree 4 (relative error of
 * exp 2.8e-17), times 2^(m/16). An entry is 2^(j/16) with j << 48 taken off its bits, so that
 * adding m << 48 puts in m / 16 as exponent and takes j out again. Elsewhere a = m ln 2 + r: q of
 * degree 9 (1.3e-17), times 2^m. */
#if defined(GAUSSMIX_AVX512)
TILE void v_exp_chosen(vec *a, const mask *chosen, const int n) {
    static const uint64_t table[16] __attribute__((aligned(64))) = {
        0x3ff0000000000000, 0x3fefb5586cf9890f, 0x3fef72b83c7d517b, 0x3fef387a6e756238,
        0x3fef06fe0a31b715, 0x3feedea64c123422, 0x3feebfdad5362a27, 0x3feeab07dd485429,
        0x3feea09e667f3bcd, 0x3feea11473eb0187, 0x3feeace5422aa0db, 0x3feec49182a3f090,
        0x3feee89f995ad3ad, 0x3fef199bdd85529c, 0x3fef5818dcfba487, 0x3fefa4afa2a490da,
    };
    UNROLL for (int v = 0; v < n; v++) {
        vec shifted = a[v] * v_set(23.083120654223414) + v_set(0x1.8p52);
        vec m = shifted - v_set(0x1.8p52);
        vec r = a[v] - m * v_set(0.043321698780346196); /* 33 bits of ln(2)/16: exact product */
        r = r - m * v_set(4.650385693757748e-12);
        bits power = (bits)_mm512_permutex2var_epi64(
            _mm512_load_si512(table), (__m512i)v_bits(shifted), _mm512_load_si512(table + 8));
        vec scale = v_keep(chosen[v], v_from_bits(power + (v_bits(shifted) << 48)));
        vec q = v_set(0.0013889034348599464);
        q = q * r + v_set(0.008333449701253456);
        q = q * r + v_set(0.04166666666496045);
        q = q * r + v_set(0.1666666666530169);
        q = q * r + v_set(0.5);
        a[v] = scale * (q * (r * r) + r) + scale;
    }
}
#else
/* Step by step for all vectors, and even and odd powers apart: half the way for a vector, others to
 * go on with meanwhile, and not one operation more than Horner's scheme. */
#define EACH UNROLL for (int v = 0; v < n; v++)
TILE void v_exp_chosen(vec *a, const mask *chosen, const int n) {
    const vec magic = v_set(0x1.8p52);
    vec shifted[WIDE], scale[WIDE], r[WIDE], square[WIDE], q[WIDE], odd[WIDE];
    EACH shifted[v] = a[v] * v_set(1.4426950408889634) + magic;
    /* 32 bits of ln 2: exact product */
    EACH r[v] = a[v] - (shifted[v] - magic) * v_set(0.6931471803691238);
    EACH r[v] = r[v] - (shifted[v] - magic) * v_set(1.9082149292705877e-10);
    EACH scale[v] = v_from_bits((v_bits(shifted[v]) << 52) + v_bits(v_set(1.0)));
    EACH scale[v] = v_keep(chosen[v], scale[v]);
    EACH square[v] = r[v] * r[v];
    EACH q[v] = square[v] * v_set(2.7620088445409746e-07) + v_set(2.4801521295954376e-05);
    EACH odd[v] = square[v] * v_set(2.510038549551032e-08) + v_set(2.7557268459997064e-06);
    EACH q[v] = q[v] * square[v] + v_set(0.0013888888917213717);
    EACH odd[v] = odd[v] * square[v] + v_set(0.00019841269863053618);
    EACH q[v] = q[v] * square[v] + v_set(0.04166666666662413);
    EACH odd[v] = odd[v] * square[v] + v_set(0.008333333333330062);
    EACH q[v] = q[v] * square[v] + v_set(0.5);
    EACH odd[v] = odd[v] * square[v] + v_set(0.16666666666666669);
    EACH q[v] = odd[v] * r[v] + q[v];
    EACH q[v] = q[v] * square[v] + r[v];
    EACH a[v] = q[v] * scale[v] + scale[v];
}
#undef EACH
#endif

/* exp(a) for -708 <= a <= 1. */
TILE vec v_exp_normal(vec a) {
    const mask every = v_every();
    v_exp_chosen(&a, &every, 1);
    return a;
}

/* exp(a) for a <= 1; 0 from -708 down, for -inf and for NaN. */
TILE vec v_exp(vec a) {
    return v_select_less(v_set(-708.0), a, v_exp_normal(a), v_set(0.0));
}

/* log(a) for positive normal a, under 1 ulp.
 *
 * a = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); s = f / (2 + f), log(1 + f) = 2 artanh(s)
 * = f - f^2/2 + s (f^2/2 + R(s^2)), R(z) = 2/3 z + 2/5 z^2 + ... fitted as above (9e-18).
 */
TILE vec v_log(vec a) {
    const bits one = v_bits(v_set(1.0)), root_half = v_bits(v_set(0.7071067811865476));
    /* Biased by 1023, so that the shift may be a logical one. */
    bits biased = (v_bits(a) - root_half + one) >> 52;
    vec f = v_from_bits(v_bits(a) - (biased << 52) + one) - v_set(1.0);
    vec n = v_from_bits(biased | v_bits(v_set(0x1p52))) - v_set(0x1p52 + 1023.0);
    vec s = f / (f + v_set(2.0));
    vec z = s * s;
    vec series = v_set(0.14616585424888623);
    series = series * z + v_set(0.15331710618210773);
    series = series * z + v_set(0.18182889455674947);
    series = series * z + v_set(0.22222211130259878);
    series = series * z + v_set(0.2857142862600327);
    series = series * z + v_set(0.39999999999899444);
    series = series * z + v_set(0.666666666666667);
    vec half_square = f * f * v_set(0.5);
    vec low = s * (half_square + series * z) + n * v_set(1.9082149292705877e-10);
    return n * v_set(0.6931471803691238) - ((half_square - low) - f);
}

#endif
