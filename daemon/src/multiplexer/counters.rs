//! The counters of a multiplexer. Every request ends in exactly one of `answers`, the refusals and `abandoned`, or is still
//! in `queueDepth` or `inFlight`.

use crate::flow::counter_table;

counter_table! {
    ClientConnections "clientConnections" None false [] "Client connections",
    ActiveConnections "activeConnections" None true [main history] "Clients connected now",
    ClientRefused "clientRefused" None false [] "Clients refused",
    ClientMalformed "clientMalformed" None false [] "Clients closed for what they sent",
    Requests "requests" None false [main history] "Requests",
    Answers "answers" None false [main] "Answers",
    CacheHits "cacheHits" None false [] "Answers from the cache",
    Coalesced "coalesced" None false [] "Reads that shared another's request",
    IgnoredWrites "ignoredWrites" None false [] "Writes confirmed and not sent",
    Timeouts "timeouts" None false [main] "Requests that the device did not answer in time",
    NoPath "noPath" None false [main] "Requests without a connection to the device",
    Busy "busy" None false [] "Requests refused because too many waited",
    Denied "denied" None false [] "Writes refused",
    BadAnswers "badAnswers" None false [] "Requests that got no right answer",
    Abandoned "abandoned" None false [] "Requests whose client had gone",
    QueueDepth "queueDepth" None true [] "Requests that wait",
    InFlight "inFlight" None true [] "Requests on their way",
    Sent "sent" None false [] "Requests sent to the device",
    Retries "retries" None false [] "Reads sent again",
    DroppedAnswers "droppedAnswers" None false [] "Answers dropped: late, repeated, foreign or malformed",
    TargetConnections "targetConnections" None false [] "Connections to the device",
    TargetErrConnect "targetErrConnect" None false [main] "Failed connections to the device",
    TargetLost "targetLost" None false [] "Connections that the device ended or that were given up",
    TargetActive "targetActive" None true [] "Connections to the device now",
    TargetInUse "targetInUse" None true [] "Address of the device in use",
    LatencyP50 "latencyP50" Microseconds true [main history] "Time to an answer, median of 5 minutes",
    LatencyP99 "latencyP99" Microseconds true [] "Time to an answer, 99th percentile of 5 minutes",
    ClientRxBytes "clientRxBytes" Bytes false [] "Bytes from clients",
    ClientTxBytes "clientTxBytes" Bytes false [] "Bytes to clients",
    TargetRxBytes "targetRxBytes" Bytes false [] "Bytes from the device",
    TargetTxBytes "targetTxBytes" Bytes false [] "Bytes to the device",
    ReadCoils "readCoils" None false [] "Requests: read coils (1)",
    ReadDiscreteInputs "readDiscreteInputs" None false [] "Requests: read discrete inputs (2)",
    ReadHoldingRegisters "readHoldingRegisters" None false [] "Requests: read holding registers (3)",
    ReadInputRegisters "readInputRegisters" None false [] "Requests: read input registers (4)",
    WriteCoil "writeCoil" None false [] "Requests: write a coil (5)",
    WriteRegister "writeRegister" None false [] "Requests: write a register (6)",
    WriteCoils "writeCoils" None false [] "Requests: write coils (15)",
    WriteRegisters "writeRegisters" None false [] "Requests: write registers (16)",
    OtherFunctions "otherFunctions" None false [] "Requests: other functions",
    Exceptions "exceptions" None false [] "Answers that are exceptions of the device",
}

impl C {
    /// The counter of a Modbus function code.
    pub(super) fn of_function(code: u8) -> Self {
        match code {
            1 => Self::ReadCoils,
            2 => Self::ReadDiscreteInputs,
            3 => Self::ReadHoldingRegisters,
            4 => Self::ReadInputRegisters,
            5 => Self::WriteCoil,
            6 => Self::WriteRegister,
            15 => Self::WriteCoils,
            16 => Self::WriteRegisters,
            _ => Self::OtherFunctions,
        }
    }
}
