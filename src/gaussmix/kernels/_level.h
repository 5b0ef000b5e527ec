/* What this module was compiled for, and what the machine can run. */
#ifndef GAUSSMIX_LEVEL_H
#define GAUSSMIX_LEVEL_H

#if defined(__AVX512F__)
#define GAUSSMIX_LEVEL "avx512"
#elif defined(__AVX2__)
#define GAUSSMIX_LEVEL "avx2"
#else
#define GAUSSMIX_LEVEL "base"
#endif

/* 0: base, 1: AVX2 and FMA, 2: AVX-512 too. The builtin asks the operating system as well: without
 * its help the wide registers would not survive a task switch. */
static int machine_level(void) {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return 2;
    return 1;
#else
    return 0;
#endif
}

#endif
