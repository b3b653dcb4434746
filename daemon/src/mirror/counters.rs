//! The counters of a mirror. The first fourteen have the names that the trafficmirror plugin gave them.

use crate::flow::counter_table;

counter_table! {
    ClientConnections "clientConnections" None false [main] "Client connections",
    TargetConnections "targetConnections" None false [] "Target connections",
    MirrorConnections "mirrorConnections" None false [] "Mirror connections",
    TargetErrConnect "targetErrConnect" None false [main] "Failed connections to the target",
    MirrorErrConnect "mirrorErrConnect" None false [main] "Failed connections to mirrors",
    ClientRxPkts "clientRxPkts" Packets false [] "Reads from clients",
    ClientTxPkts "clientTxPkts" Packets false [] "Writes to clients",
    ClientErrPkts "clientErrPkts" Packets false [] "Failed reads and writes of clients",
    TargetRxPkts "targetRxPkts" Packets false [] "Reads from the target",
    TargetTxPkts "targetTxPkts" Packets false [] "Writes to the target",
    TargetErrPkts "targetErrPkts" Packets false [] "Failed reads and writes of the target",
    MirrorRxPkts "mirrorRxPkts" Packets false [] "Reads from mirrors",
    MirrorTxPkts "mirrorTxPkts" Packets false [] "Writes to mirrors",
    MirrorErrPkts "mirrorErrPkts" Packets false [] "Failed reads and writes of mirrors",
    ActiveConnections "activeConnections" None true [main history] "Clients connected now",
    ClientRxBytes "clientRxBytes" Bytes false [main history] "Bytes from clients",
    ClientTxBytes "clientTxBytes" Bytes false [main history] "Bytes to clients",
    TargetRxBytes "targetRxBytes" Bytes false [] "Bytes from the target",
    TargetTxBytes "targetTxBytes" Bytes false [] "Bytes to the target",
    MirrorRxBytes "mirrorRxBytes" Bytes false [] "Bytes from mirrors",
    MirrorTxBytes "mirrorTxBytes" Bytes false [] "Bytes to mirrors",
    MirrorDroppedBytes "mirrorDroppedBytes" Bytes false [main] "Bytes that mirrors missed",
    MirrorDetached "mirrorDetached" None false [] "Copies given up half way",
    ClientRefused "clientRefused" None false [] "Clients refused",
    TargetInUse "targetInUse" None true [] "Target in use",
    DroppedDatagrams "droppedDatagrams" None false [] "Datagrams dropped",
    MirrorDroppedDatagrams "mirrorDroppedDatagrams" None false [] "Datagrams that mirrors missed",
    SpooledConnections "spooledConnections" None true [] "Connections on disk",
    SpooledBytes "spooledBytes" Bytes true [main] "Bytes on disk",
    SpoolReplayed "spoolReplayed" None false [] "Connections played back",
    SpoolRepeated "spoolRepeated" None false [] "Connections played back that may have arrived before",
    SpoolDropped "spoolDropped" None false [] "Connections dropped from the disk",
}

pub(super) const COUNT: usize = COUNTERS.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (counter, name) in [(C::ClientConnections, "clientConnections"), (C::MirrorErrPkts, "mirrorErrPkts"), (C::ClientRefused, "clientRefused")]
        {
            assert_eq!(COUNTERS.get(counter as usize).map(|d| d.name), Some(name));
        }
    }
}
