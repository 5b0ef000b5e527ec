/* What a team of OpenMP threads needs before it is started, and while it runs. */
#ifndef GAUSSMIX_THREADS_H
#define GAUSSMIX_THREADS_H

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#define GAUSSMIX_OPENMP _OPENMP
static int openmp_max_threads(void) { return omp_get_max_threads(); }
/* Of the parallel region that the caller runs in. */
static int team_size(void) { return omp_get_num_threads(); }
#else
#define GAUSSMIX_OPENMP 0
static int openmp_max_threads(void) { return 1; }
static int team_size(void) { return 1; }
#endif

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#include <time.h>
static void give_way(void) { sched_yield(); }
static void doze(void) {
    const struct timespec moment = {0, 100000};
    nanosleep(&moment, 0);
}
#else
static void give_way(void) {}
static void doze(void) {}
#endif

/* So often it looks before the core is offered to others, as one may be a thread of the team, and
 * before it sleeps for 0.1 ms: some ten microseconds, and some hundred later. */
enum { SPINS = 2000, OFFERS = 1000 };

/* A barrier: the number `arrived` of those that came to one grows by all of the team each time, and
 * `due` is the thread's own. EPYC (Zen 4), two threads: 0.2 us; OpenMP's takes 1.3 to 2. */
static void wait_for_team(ptrdiff_t *arrived, ptrdiff_t *due) {
#if defined(_OPENMP)
    int spins = 0;
    *due += team_size();
    __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(arrived, __ATOMIC_ACQUIRE) < *due) {
        if (++spins > SPINS + OFFERS) {
            doze();
        } else if (spins > SPINS) {
            give_way();
        } else {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    }
#else
    (void)arrived, (void)due;
#endif
}

/* The next number of a counter that several threads share, or of the caller's own. */
static ptrdiff_t take_next(ptrdiff_t *shared, ptrdiff_t *own) {
#if defined(_OPENMP)
    if (shared) return __atomic_fetch_add(shared, 1, __ATOMIC_RELAXED);
#endif
    return shared ? (*shared)++ : (*own)++;
}

/* The same value may come from several threads at once. */
static void tell_team(ptrdiff_t *shared, ptrdiff_t value) {
#if defined(_OPENMP)
    __atomic_store_n(shared, value, __ATOMIC_RELAXED);
#else
    *shared = value;
#endif
}

#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>

enum { MOST_THREADS = 1024 }; /* that a call may use; more would only cost memory */

static volatile int in_forked_child = 0;
/* The largest team that this thread is known to be able to start. */
static __thread int proven_threads = 1;

static void note_fork(void) { in_forked_child = 1; }

static int watch_forks(void) { return pthread_atfork(0, 0, note_fork); }

static void *pass_gate(void *gate) {
    pthread_mutex_lock((pthread_mutex_t *)gate);
    pthread_mutex_unlock((pthread_mutex_t *)gate);
    return 0;
}

/* How many of the threads wanted can run. After a fork 1: the pool stayed behind, and OpenMP would
 * wait for it. And where the system refuses a thread, GCC's OpenMP ends the process. So before a
 * team grows, as many threads are started at once here; OpenMP keeps its own from then on. */
static int startable_threads(int wanted) {
    pthread_t started[MOST_THREADS];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int n = 1, i;
    if (wanted <= 1 || in_forked_child) return 1;
    if (wanted > MOST_THREADS) wanted = MOST_THREADS;
    if (wanted <= proven_threads) return wanted;
    pthread_mutex_lock(&gate);
    while (n < wanted && pthread_create(&started[n], 0, pass_gate, &gate) == 0) n++;
    pthread_mutex_unlock(&gate);
    for (i = 1; i < n; i++) pthread_join(started[i], 0);
    pthread_mutex_destroy(&gate);
    proven_threads = n;
    return n;
}
#else
enum { MOST_THREADS = 1024 };
static int watch_forks(void) { return 0; }
static int startable_threads(int wanted) { return wanted < MOST_THREADS ? wanted : MOST_THREADS; }
#endif

#endif
