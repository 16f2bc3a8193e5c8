/* A stand-in for NVIDIA's management library: same symbols, same structures, no card.
 *
 * Every call reads the file that FAKE_NVML_STATE names: lines of key=value, where a value is a number, a text, or
 * "error N" with one of NVML's return codes. "1.key" overrides "key" for the second card. A key that is missing
 * answers "not supported", as a driver does that lacks the query. Without the file there is no driver. A key that is the
 * name of a symbol, as "nvmlDeviceGetPowerUsage=error 3", makes this call alone fail.
 *
 * "script=FILE" names a file with one moment a line: key=value, separated by tabs, which go before the state's. The
 * last line stays. "script_ms=0": a line lasts for one reading of a card, which begins with the question of its
 * temperature; each process counts for itself. Else a line lasts for so many milliseconds, from "script_begin" on
 * (milliseconds since 1970). See FakeNvml.play in build.py.
 *
 * Signatures and structures follow nvml.h (CUDA 12 and 13).
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
       LIBRARY_NOT_FOUND = 12, VERSION_MISMATCH = 25, NOT_SAID = -1 };

typedef int Return;
typedef void *Device; /* the card's index + 1 */

static int users; /* nvmlInit calls without their nvmlShutdown */

enum { CARDS = 16, SYMBOLS = 64 };
static long readings[CARDS];     /* of each card, since this script began */
static char script[512];         /* the one that is played */
static const char *called[SYMBOLS]; /* symbols that were called, by name */

/* Tells the tests that the fake answers, and whether everyone shut it down. */
int fake_nvml_users(void) { return users; }

/* Tells the tests whether a symbol was ever called in this process. */
int fake_nvml_called(const char *symbol) {
    for (int i = 0; i < SYMBOLS && called[i]; i++)
        if (strcmp(called[i], symbol) == 0) return 1;
    return 0;
}

/* A file kept in memory, read again when it is another one or has changed. */
typedef struct { char *text; ino_t number; struct timespec changed; } Kept;

static const char *text_of(Kept *kept, const char *path) {
    struct stat now;
    if (!path || stat(path, &now) != 0) return NULL;
    if (kept->text && kept->number == now.st_ino && kept->changed.tv_sec == now.st_mtim.tv_sec &&
        kept->changed.tv_nsec == now.st_mtim.tv_nsec) return kept->text;
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    free(kept->text);
    kept->text = calloc(1, (size_t)now.st_size + 1);
    if (fread(kept->text, 1, (size_t)now.st_size, file) == 0) *kept->text = 0;
    fclose(file);
    kept->number = now.st_ino, kept->changed = now.st_mtim;
    return kept->text;
}

/* Copies what `text` says of `key`, if it does, up to `end`; what is said of one card alone goes before the rest. */
static int find(const char *text, const char *end, int card, const char *key, char *value, size_t size) {
    int found = 0;
    for (const char *pair = text; pair < end; pair++) {
        size_t length = strcspn(pair, "\t\n");
        const char *equals = memchr(pair, '=', length), *name = pair;
        char *dot;
        int own = equals && strtol(pair, &dot, 10) == card && dot != pair && *dot == '.';
        if (own) name = dot + 1;
        if (equals && found <= 1 + own && strlen(key) == (size_t)(equals - name) &&
            strncmp(name, key, strlen(key)) == 0) {
            found = 1 + own;
            snprintf(value, size, "%.*s", (int)(pair + length - equals - 1), equals + 1);
        }
        pair += length;
    }
    return found;
}

/* Which line of the script is played now; a new script begins with its first. */
static long moment(int card, const char *name, long long period, long long begin) {
    struct timespec now;
    if (strcmp(script, name) != 0) {
        snprintf(script, sizeof script, "%s", name);
        memset(readings, 0, sizeof readings);
    }
    if (period <= 0) return card < 0 || card >= CARDS || !readings[card] ? 0 : readings[card] - 1;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long)((now.tv_sec * 1000LL + now.tv_nsec / 1000000 - begin) / period);
}

static Return look_up_alone(int card, const char *key, char *value, size_t size) {
    static Kept state, played;
    char name[512], period[32] = "0", begin[32] = "0";
    const char *text = text_of(&state, getenv("FAKE_NVML_STATE")), *end, *line;
    int found, error;
    if (!text) return LIBRARY_NOT_FOUND;
    end = text + strlen(text);
    found = find(text, end, card, key, value, size);
    if (find(text, end, -1, "script", name, sizeof name) && (line = text_of(&played, name))) {
        find(text, end, -1, "script_ms", period, sizeof period);
        find(text, end, -1, "script_begin", begin, sizeof begin);
        for (long left = moment(card, name, strtoll(period, NULL, 10), strtoll(begin, NULL, 10)); left > 0; left--) {
            const char *next = strchr(line, '\n');
            if (!next || !next[1]) break;
            line = next + 1;
        }
        found += find(line, line + strcspn(line, "\n"), card, key, value, size);
    }
    if (!found) return NOT_SAID;
    return sscanf(value, "error %d", &error) == 1 ? error : SUCCESS;
}

static Return look_up_locked(int card, const char *key, char *value, size_t size) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one_at_a_time);
    Return code = look_up_alone(card, key, value, size);
    pthread_mutex_unlock(&one_at_a_time);
    return code;
}

/* Copies the value of `key` (of one card; -1: of the machine). Returns SUCCESS, NOT_SUPPORTED or the wanted error. */
static Return look_up(int card, const char *key, char *value, size_t size) {
    Return code = look_up_locked(card, key, value, size);
    return code == NOT_SAID ? NOT_SUPPORTED : code;
}

/* Notes that a symbol is called, and whether it alone is to fail. */
static Return begin(int card, const char *symbol) {
    char value[256];
    for (int i = 0; i < SYMBOLS; i++) {
        if (called[i] && strcmp(called[i], symbol) != 0) continue;
        called[i] = symbol;
        break;
    }
    Return code = look_up_locked(card, symbol, value, sizeof value);
    return code == NOT_SAID ? SUCCESS : code;
}

#define CARD(device) ((int)(intptr_t)(device) - 1)
#define BEGIN(card) do { Return wanted = begin(card, __func__); if (wanted != SUCCESS) return wanted; } while (0)

static Return number(int card, const char *key, long long *out) {
    char value[256];
    Return code = look_up(card, key, value, sizeof value);
    if (code == SUCCESS) *out = strtoll(value, NULL, 0);
    return code;
}

static Return text(int card, const char *key, char *out, unsigned size) {
    char value[256];
    Return code = users ? look_up(card, key, value, sizeof value) : UNINITIALIZED;
    if (code != SUCCESS) return code;
    if (strlen(value) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

/* A query of one card, as a number. `every_query=error N` makes all of them fail: a card that is lost. */
static Return query(Device device, const char *key, long long *out) {
    int card = (int)(intptr_t)device - 1;
    long long ignored;
    Return code;
    if (!users) return UNINITIALIZED;
    code = number(card, "every_query", &ignored);
    if (code != SUCCESS && code != NOT_SUPPORTED) return code;
    return number(card, key, out);
}

static Return query_uint(Device device, const char *key, unsigned *out) {
    long long value;
    Return code = query(device, key, &value);
    if (code == SUCCESS) *out = (unsigned)value;
    return code;
}

static Return query_u64(Device device, const char *key, unsigned long long *out) {
    long long value;
    Return code = query(device, key, &value);
    if (code == SUCCESS) *out = (unsigned long long)value;
    return code;
}

Return nvmlInitWithFlags(unsigned flags) {
    long long ignored;
    Return code = number(-1, "init", &ignored);
    (void)flags;
    BEGIN(-1);
    if (code == NOT_SUPPORTED) code = SUCCESS; /* not mentioned: it works */
    if (code == SUCCESS) users++;
    return code;
}

Return nvmlShutdown(void) {
    BEGIN(-1);
    if (!users) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(Return code) {
    static char sentence[32];
    snprintf(sentence, sizeof sentence, "Fake error %d", code);
    return sentence;
}

Return nvmlSystemGetDriverVersion(char *version, unsigned size) {
    BEGIN(-1);
    return text(-1, "driver_version", version, size);
}

Return nvmlDeviceGetCount_v2(unsigned *count) {
    long long value;
    BEGIN(-1);
    Return code = users ? number(-1, "count", &value) : UNINITIALIZED;
    if (code == SUCCESS) *count = (unsigned)value;
    return code;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    long long ignored, count;
    BEGIN((int)index);
    Return code = users ? number(-1, "count", &count) : UNINITIALIZED;
    if (code != SUCCESS) return code;
    if (index >= count) return INVALID_ARGUMENT;
    code = number((int)index, "every_query", &ignored);
    if (code != SUCCESS && code != NOT_SUPPORTED) return code;
    *device = (Device)(intptr_t)(index + 1);
    return SUCCESS;
}

Return nvmlDeviceGetName(Device device, char *name, unsigned size) {
    BEGIN(CARD(device));
    return text(CARD(device), "name", name, size);
}

Return nvmlDeviceGetUUID(Device device, char *uuid, unsigned size) {
    BEGIN(CARD(device));
    return text(CARD(device), "uuid", uuid, size);
}

typedef struct { unsigned long long total, free, used; } Memory;

Return nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    BEGIN(CARD(device));
    Return code = query_u64(device, "memory_total", &memory->total);
    if (code == SUCCESS) code = query_u64(device, "memory_used", &memory->used);
    if (code == SUCCESS) memory->free = memory->total - memory->used;
    return code;
}

typedef struct { unsigned version, sensor; int temperature; } Temperature;
typedef struct { unsigned version; int margin; } Margin;

Return nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *celsius) {
    BEGIN(CARD(device));
    return sensor ? INVALID_ARGUMENT : query_uint(device, "temperature", celsius);
}

Return nvmlDeviceGetTemperatureV(Device device, Temperature *temperature) {
    Return wanted = begin(CARD(device), __func__);        /* which notices a new script */
    if (CARD(device) < CARDS) readings[CARD(device)]++; /* the first question of a reading */
    if (wanted != SUCCESS) return wanted;
    if (temperature->version != (sizeof *temperature | 1u << 24)) return VERSION_MISMATCH;
    return temperature->sensor ? INVALID_ARGUMENT
                               : query_uint(device, "temperature", (unsigned *)&temperature->temperature);
}

Return nvmlDeviceGetMarginTemperature(Device device, Margin *margin) {
    BEGIN(CARD(device));
    if (margin->version != (sizeof *margin | 1u << 24)) return VERSION_MISMATCH;
    return query_uint(device, "margin", (unsigned *)&margin->margin);
}

Return nvmlDeviceGetTemperatureThreshold(Device device, unsigned which, unsigned *celsius) {
    static const char *const keys[] = {"shutdown", "slowdown", "memory_max", "gpu_max"};
    BEGIN(CARD(device));
    return which < 4 ? query_uint(device, keys[which], celsius) : NOT_SUPPORTED;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type;
    Return code;
    union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; } value;
} Field;

Return nvmlDeviceGetFieldValues(Device device, int count, Field *fields) {
    BEGIN(CARD(device));
    for (int i = 0; i < count; i++) { /* 82: the memory's temperature, as an unsigned number (type 1) */
        fields[i].type = 1;
        fields[i].code = fields[i].field == 82 ? query_uint(device, "memory_temperature", &fields[i].value.ui)
                                               : NOT_SUPPORTED;
    }
    return SUCCESS;
}

Return nvmlDeviceGetPowerUsage(Device device, unsigned *milliwatts) {
    BEGIN(CARD(device));
    return query_uint(device, "power", milliwatts);
}

Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *milliwatts) {
    BEGIN(CARD(device));
    return query_uint(device, "power_limit", milliwatts);
}

Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *millijoules) {
    BEGIN(CARD(device));
    return query_u64(device, "energy", millijoules);
}

typedef struct { unsigned gpu, memory; } Utilization;

Return nvmlDeviceGetUtilizationRates(Device device, Utilization *utilization) {
    BEGIN(CARD(device));
    if (query_uint(device, "memory_utilisation", &utilization->memory) != SUCCESS) utilization->memory = 0;
    return query_uint(device, "utilisation", &utilization->gpu);
}

Return nvmlDeviceGetClockInfo(Device device, unsigned which, unsigned *megahertz) {
    static const char *const keys[] = {"graphics_clock", "clock", "memory_clock"}; /* 1: the SM clock */
    BEGIN(CARD(device));
    return which < 3 ? query_uint(device, keys[which], megahertz) : NOT_SUPPORTED;
}

Return nvmlDeviceGetFanSpeed(Device device, unsigned *percent) {
    BEGIN(CARD(device));
    return query_uint(device, "fan", percent);
}

Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *reasons) {
    BEGIN(CARD(device));
    return query_u64(device, "clock_reasons", reasons);
}

Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *reasons) {
    BEGIN(CARD(device));
    return query_u64(device, "clock_reasons", reasons);
}

Return nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    long long value; /* 86 is 8.6, 120 is 12.0 */
    BEGIN(CARD(device));
    Return code = query(device, "compute_capability", &value);
    if (code == SUCCESS) *major = (int)(value / 10), *minor = (int)(value % 10);
    return code;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Process;

/* "processes=PID:BYTES PID:BYTES"; without bytes the driver does not say (2^64 - 1), as on Windows. */
Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, Process *processes) {
    char value[256], *at = value, *end;
    unsigned found = 0;
    BEGIN(CARD(device));
    Return code = users ? look_up(CARD(device), "processes", value, sizeof value) : UNINITIALIZED;
    if (code != SUCCESS) return code;
    for (unsigned long pid; (pid = strtoul(at, &end, 10)), end != at; found++) {
        unsigned long long memory = *end == ':' ? strtoull(end + 1, &end, 10) : ~0ULL;
        if (processes && found < *count) processes[found] = (Process){(unsigned)pid, memory, ~0u, ~0u};
        at = end;
    }
    code = found > (processes ? *count : 0) ? INSUFFICIENT_SIZE : SUCCESS;
    *count = found;
    return code;
}
