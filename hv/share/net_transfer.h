/* SPDX-License-Identifier: MIT */
/* One packet from one card's send_chain into another card's receive queue: the copy between two guests. */
#ifndef HV_SHARE_NET_TRANSFER_H
#define HV_SHARE_NET_TRANSFER_H

#include "hv/dev/virtio/net.h"

/* Copies the sender's packet, cut into segments where the receiver's driver takes no large ones, or counts why not;
 * pays for it. The receiver's receive_lock is held; its device runs. True: its driver wants an interrupt. */
bool net_transfer(struct virtio_net *sender, struct virtio_net *receiver, struct virtio_budget *budget);

#endif
