# SPDX-License-Identifier: MIT
"""OVMF's variables with Secure Boot on and one certificate as all of its keys: what one does in a machine's set-up, so that a
signature can be tried before the machine has it. Used by run-qemu --secure-boot.

The file is an empty variable store of OVMF, to which variables are appended. UEFI 2.10, 32.3 "Firmware/OS Key Exchange" has PK,
KEK and db, 32.4.1 "Signature Database" their contents; the store's layout is EDK2's (MdeModulePkg/Include/Guid/VariableFormat.h).
"""

import ssl
import struct
import uuid

STORE_AT = 0x48  # behind the volume's header
VARIABLES_AT = STORE_AT + 28
STORE_GUID = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")  # a store of authenticated variables
GLOBAL_GUID = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
DATABASE_GUID = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
ENABLE_GUID = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
X509_GUID = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
OWNER_GUID = uuid.UUID("504c494e-5448-4000-8000-000000000004")
START, ADDED = 0x55AA, 0x3F
KEPT, AUTHENTICATED = 0x03, 0x27  # non-volatile and boot services; the same, runtime and time-based authentication
FREE = 0xFF


class SecureBootError(Exception):
    """A sentence for the user."""


def certificate_of(path):
    """A certificate's DER bytes, from DER or PEM."""
    with open(path, "rb") as file:
        data = file.read()
    if b"-----BEGIN CERTIFICATE-----" in data:
        return ssl.PEM_cert_to_DER_cert(data[data.index(b"-----BEGIN"):].decode("ascii"))
    if not data.startswith(b"\x30\x82"):
        raise SecureBootError(f"{path} is no certificate, in DER or PEM")
    return data


def signature_list(certificate):
    size = 16 + len(certificate)
    return X509_GUID.bytes_le + struct.pack("<III", 28 + size, 0, size) + OWNER_GUID.bytes_le + certificate


def variable(name, guid, attributes, data):
    text = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<HBBIQ16xIII", START, ADDED, 0, attributes, 0, 0, len(text), len(data)) + guid.bytes_le
    whole = head + text + data
    return whole + bytes([FREE]) * (-len(whole) % 4)


def variables_with(store, certificate):
    """The store with the keys in it."""
    if store[STORE_AT:STORE_AT + 16] != STORE_GUID.bytes_le or store[VARIABLES_AT:VARIABLES_AT + 2] != bytes([FREE, FREE]):
        raise SecureBootError("OVMF's variables are not what Debian's package ovmf has: an empty store")
    keys = signature_list(certificate)
    added = b"".join((variable("PK", GLOBAL_GUID, AUTHENTICATED, keys), variable("KEK", GLOBAL_GUID, AUTHENTICATED, keys),
                      variable("db", DATABASE_GUID, AUTHENTICATED, keys), variable("SecureBootEnable", ENABLE_GUID, KEPT, b"\x01")))
    return store[:VARIABLES_AT] + added + store[VARIABLES_AT + len(added):]
