/* SPDX-License-Identifier: MIT */
/*
 * Sentences for the user while the firmware has the console.
 *
 * They go to the firmware's text output, which on most machines with a serial console is mirrored to the UART by the
 * firmware itself. Where it is not, the same text is written to COM1, so that a machine that is only watched by its
 * serial line says why it does not start. Both at once would double every line: firmware_has_serial() decides.
 */
#include "efi/efi_stage.h"
#include "hv/base/format.h"

/* The handles that the firmware's console splitter writes to. It is EDK2's convention, kept by firmwares made from
 * it. */
static EFI_GUID console_out_guid = {0xd3b36f2c, 0xd551, 0x11d4, {0x9a, 0x46, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
static EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;

#define SENTENCE_MAX 600u
#define PATH_NODES_MAX 64u
#define READING_TIME_S 60u
#define POLLS_PER_S 20u
/* UEFI 2.10, 10.3.4.15 "UART Device Path": messaging, subtype 14. */
static bool path_has_uart(const EFI_DEVICE_PATH *node)
{
    for (uint32_t i = 0; i < PATH_NODES_MAX; i++) {
        uint32_t length = (uint32_t)node->Length[0] | (uint32_t)node->Length[1] << 8;

        if (node->Type == END_DEVICE_PATH_TYPE || length < sizeof(*node)) {
            return false;
        }
        if (node->Type == MESSAGING_DEVICE_PATH && node->SubType == MSG_UART_DP) {
            return true;
        }
        node = (const EFI_DEVICE_PATH *)((const uint8_t *)node + length);
    }
    return false;
}

static bool handle_is_serial(struct efi_stage *stage, EFI_HANDLE handle)
{
    void *path = NULL;

    if (handle == NULL || EFI_ERROR(stage->boot->HandleProtocol(handle, &device_path_guid, &path)) || path == NULL) {
        return false;
    }
    return path_has_uart(path);
}

static bool firmware_has_serial(struct efi_stage *stage)
{
    EFI_HANDLE *handles = NULL;
    UINTN count = 0;
    bool found = handle_is_serial(stage, stage->system->ConsoleOutHandle);

    if (!EFI_ERROR(stage->boot->LocateHandleBuffer(ByProtocol, &console_out_guid, NULL, &count, &handles))) {
        for (UINTN i = 0; i < count; i++) {
            found = found || handle_is_serial(stage, handles[i]);
        }
        stage->boot->FreePool(handles);
    }
    return found;
}

void efi_console_start(struct efi_stage *stage)
{
    if (!firmware_has_serial(stage) && efi_uart_answers(&efi_com1)) {
        efi_uart_set_up(&efi_com1);
        stage->console_uart = true;
    }
    /* UEFI 2.10, 7.5.1: the boot manager arms a watchdog of 5 minutes; large images on a slow stick may take longer.
     * It cannot be asked whether it was armed; off is right for a shell that we return to, and the boot manager arms
     * it anew for the next boot option. */
    stage->boot->SetWatchdogTimer(0, 0, 0, NULL);
}

static void write(struct efi_stage *stage, const char *string)
{
    CHAR16 wide[SENTENCE_MAX + 4];
    size_t length = 0;

    for (const char *from = string; *from != 0 && length < SENTENCE_MAX; from++) {
        wide[length++] = (CHAR16)((uint8_t)*from < 0x80 ? *from : '?');
    }
    wide[length] = 0;
    if (stage->system->ConOut != NULL) {
        stage->system->ConOut->OutputString(stage->system->ConOut, wide);
    }
    if (stage->console_uart) {
        efi_uart_write(&efi_com1, string);
    }
}

/* Ends a line that efi_say_again began: the next text starts in column 0 and covers it. */
static void finish(char *sentence, size_t length)
{
    sentence[length] = '\r';
    sentence[length + 1] = '\n';
    sentence[length + 2] = 0;
}

void efi_say(struct efi_stage *stage, const char *form, ...)
{
    char sentence[SENTENCE_MAX];
    va_list list;

    va_start(list, form);
    finish(sentence, format_list(sentence, sizeof(sentence) - 2, form, list));
    va_end(list);
    write(stage, sentence);
}

void efi_say_again(struct efi_stage *stage, const char *form, ...)
{
    char sentence[SENTENCE_MAX] = "\r";
    va_list list;

    va_start(list, form);
    format_list(sentence + 1, sizeof(sentence) - 1, form, list);
    va_end(list);
    write(stage, sentence);
}

bool efi_fail(struct efi_stage *stage, EFI_STATUS status, const char *form, ...)
{
    char sentence[SENTENCE_MAX];
    va_list list;

    if (stage->status == EFI_SUCCESS) {
        stage->status = EFI_ERROR(status) ? status : EFI_LOAD_ERROR;
    }
    va_start(list, form);
    finish(sentence, format_list(sentence, sizeof(sentence) - 2, form, list));
    va_end(list);
    write(stage, sentence);
    return false;
}

static bool key_pressed(struct efi_stage *stage)
{
    EFI_INPUT_KEY key;

    return stage->system->ConIn != NULL && !EFI_ERROR(stage->system->ConIn->ReadKeyStroke(stage->system->ConIn, &key));
}

/* Scripts look for the second line (tools/emulator.py), so it comes before the wait. */
void efi_console_returned(struct efi_stage *stage)
{
    if (stage->system->ConIn != NULL) {
        stage->system->ConIn->Reset(stage->system->ConIn, FALSE); /* keys typed before the sentence do not count */
    }
    efi_say(stage, "Plinth: nothing was started. The firmware goes on in %u seconds, or when a key is pressed.",
            READING_TIME_S);
    efi_say(stage, "plinth: returned to the firmware");
    for (uint32_t i = 0; i < READING_TIME_S * POLLS_PER_S && !key_pressed(stage); i++) {
        stage->boot->Stall(1000000u / POLLS_PER_S);
    }
}

const char *efi_status_name(EFI_STATUS status)
{
    /* UEFI 2.10, appendix D "Status Codes". */
    static const struct {
        EFI_STATUS status;
        const char *name;
    } names[] = {
        {EFI_SUCCESS, "success"},
        {EFI_LOAD_ERROR, "load error"},
        {EFI_INVALID_PARAMETER, "invalid parameter"},
        {EFI_UNSUPPORTED, "unsupported"},
        {EFI_BUFFER_TOO_SMALL, "buffer too small"},
        {EFI_NOT_READY, "not ready"},
        {EFI_DEVICE_ERROR, "device error"},
        {EFI_OUT_OF_RESOURCES, "out of memory"},
        {EFI_VOLUME_CORRUPTED, "volume corrupted"},
        {EFI_VOLUME_FULL, "volume full"},
        {EFI_WRITE_PROTECTED, "write-protected"},
        {EFI_NO_MEDIA, "no medium"},
        {EFI_MEDIA_CHANGED, "medium changed"},
        {EFI_NOT_FOUND, "not found"},
        {EFI_ACCESS_DENIED, "access denied"},
        {EFI_TIMEOUT, "timeout"},
        {EFI_SECURITY_VIOLATION, "security violation"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return "unnamed firmware error";
}
