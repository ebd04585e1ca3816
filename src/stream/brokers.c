/* The back ends that were found at build. */
#include "stream/broker.h"

#ifdef FINCH_HIREDIS
extern const stream_broker stream_redis;
#endif
#ifdef FINCH_NATS
extern const stream_broker stream_nats;
#endif
#ifdef FINCH_KAFKA
extern const stream_broker stream_kafka;
#endif

const stream_broker *const stream_brokers[] = {
#ifdef FINCH_HIREDIS
    &stream_redis,
#endif
#ifdef FINCH_NATS
    &stream_nats,
#endif
#ifdef FINCH_KAFKA
    &stream_kafka,
#endif
    NULL,
};
