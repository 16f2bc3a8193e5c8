/* A stand-in for NVIDIA's management library: same symbols, same structures, no card.
 *
 * Every call reads the file that FAKE_NVML_STATE names: lines of key=value, where a value is a number, a text, or
 * "error N" with one of NVML's return codes. "1.key" overrides "key" for the second card. A key that is missing
 * answers "not supported", as a driver does that lacks the query. Without the file there is no driver.
 * Signatures and structures follow nvml.h (CUDA 12 and 13).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
       LIBRARY_NOT_FOUND = 12, VERSION_MISMATCH = 25 };

typedef int Return;
typedef void *Device; /* the card's index + 1 */

static int users; /* nvmlInit calls without their nvmlShutdown */

/* Tells the tests that the fake answers, and whether everyone shut it down. */
int fake_nvml_users(void) { return users; }

/* Copies the value of `key` (of one card; -1: of the machine). Returns SUCCESS, NOT_SUPPORTED or the wanted error. */
static Return look_up(int card, const char *key, char *value, size_t size) {
    char line[512], own[128], *path = getenv("FAKE_NVML_STATE");
    int found = 0, error;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return LIBRARY_NOT_FOUND;
    snprintf(own, sizeof own, "%d.%s", card, key);
    while (fgets(line, sizeof line, file)) {
        char *equals = strchr(line, '=');
        if (!equals) continue;
        *equals = 0;
        equals[1 + strcspn(equals + 1, "\r\n")] = 0;
        if (strcmp(line, own) == 0 || (found < 2 && strcmp(line, key) == 0)) {
            found = strcmp(line, own) == 0 ? 2 : 1;
            snprintf(value, size, "%s", equals + 1);
        }
    }
    fclose(file);
    if (!found) return NOT_SUPPORTED;
    return sscanf(value, "error %d", &error) == 1 ? error : SUCCESS;
}

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
    if (code == NOT_SUPPORTED) code = SUCCESS; /* not mentioned: it works */
    if (code == SUCCESS) users++;
    return code;
}

Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

Return nvmlShutdown(void) {
    if (!users) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(Return code) {
    static char sentence[32];
    snprintf(sentence, sizeof sentence, "Fake error %d", code);
    return sentence;
}

Return nvmlSystemGetDriverVersion(char *version, unsigned size) { return text(-1, "driver_version", version, size); }

Return nvmlDeviceGetCount_v2(unsigned *count) {
    long long value;
    Return code = users ? number(-1, "count", &value) : UNINITIALIZED;
    if (code == SUCCESS) *count = (unsigned)value;
    return code;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    long long ignored;
    unsigned count;
    Return code = nvmlDeviceGetCount_v2(&count);
    if (code != SUCCESS) return code;
    if (index >= count) return INVALID_ARGUMENT;
    code = number((int)index, "every_query", &ignored);
    if (code != SUCCESS && code != NOT_SUPPORTED) return code;
    *device = (Device)(intptr_t)(index + 1);
    return SUCCESS;
}

Return nvmlDeviceGetName(Device device, char *name, unsigned size) {
    return text((int)(intptr_t)device - 1, "name", name, size);
}

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;

Return nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    Return code = query_u64(device, "memory_total", &memory->total);
    if (code == SUCCESS) code = query_u64(device, "memory_used", &memory->used);
    if (code == SUCCESS) memory->free = memory->total - memory->used;
    return code;
}

Return nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *memory) {
    Memory plain;
    Return code = nvmlDeviceGetMemoryInfo(device, &plain);
    if (memory->version != (sizeof *memory | 2u << 24)) return VERSION_MISMATCH;
    if (code != SUCCESS) return code;
    memory->total = plain.total, memory->free = plain.free, memory->used = plain.used, memory->reserved = 0;
    return SUCCESS;
}

typedef struct { unsigned version, sensor; int temperature; } Temperature;
typedef struct { unsigned version; int margin; } Margin;

Return nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *celsius) {
    return sensor ? INVALID_ARGUMENT : query_uint(device, "temperature", celsius);
}

Return nvmlDeviceGetTemperatureV(Device device, Temperature *temperature) {
    long long ignored;
    Return code = query(device, "temperature_v", &ignored); /* an error here: a driver without the new call */
    if (code != SUCCESS && code != NOT_SUPPORTED) return code;
    if (temperature->version != (sizeof *temperature | 1u << 24)) return VERSION_MISMATCH;
    return nvmlDeviceGetTemperature(device, temperature->sensor, (unsigned *)&temperature->temperature);
}

Return nvmlDeviceGetMarginTemperature(Device device, Margin *margin) {
    if (margin->version != (sizeof *margin | 1u << 24)) return VERSION_MISMATCH;
    return query_uint(device, "margin", (unsigned *)&margin->margin);
}

Return nvmlDeviceGetTemperatureThreshold(Device device, unsigned which, unsigned *celsius) {
    static const char *const keys[] = {"shutdown", "slowdown", "memory_max", "gpu_max"};
    return which < 4 ? query_uint(device, keys[which], celsius) : NOT_SUPPORTED;
}

Return nvmlDeviceGetPowerUsage(Device device, unsigned *milliwatts) { return query_uint(device, "power", milliwatts); }

Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *milliwatts) {
    return query_uint(device, "power_limit", milliwatts);
}

Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *millijoules) {
    return query_u64(device, "energy", millijoules);
}

typedef struct { unsigned gpu, memory; } Utilization;

Return nvmlDeviceGetUtilizationRates(Device device, Utilization *utilization) {
    utilization->memory = 0;
    return query_uint(device, "utilisation", &utilization->gpu);
}

Return nvmlDeviceGetClockInfo(Device device, unsigned which, unsigned *megahertz) {
    return which == 1 ? query_uint(device, "clock", megahertz) : NOT_SUPPORTED; /* 1: the SM clock */
}

Return nvmlDeviceGetFanSpeed(Device device, unsigned *percent) { return query_uint(device, "fan", percent); }

Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *reasons) {
    return query_u64(device, "clock_reasons", reasons);
}

Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *reasons) {
    long long ignored;
    Return code = query(device, "event_reasons", &ignored); /* an error here: a driver without the new call */
    if (code != SUCCESS && code != NOT_SUPPORTED) return code;
    return nvmlDeviceGetCurrentClocksThrottleReasons(device, reasons);
}

Return nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    long long value; /* 86 is 8.6, 120 is 12.0 */
    Return code = query(device, "compute_capability", &value);
    if (code == SUCCESS) *major = (int)(value / 10), *minor = (int)(value % 10);
    return code;
}
