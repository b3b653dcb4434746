<?php

declare(strict_types=1);

use Domoflux\Import;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

/**
 * An equipment as the trafficmirror plugin leaves it in the database: a command without a logical id, boxes as texts.
 *
 * @param array<string, string> $configuration
 * @return int its id
 */
function trafficmirror(string $name, array $configuration, int $enabled = 1): int
{
    DB::insert('eqLogic', [
        'name' => $name, 'logicalId' => '', 'object_id' => null, 'eqType_name' => 'trafficmirror', 'isVisible' => 1, 'isEnable' => $enabled, 'timeout' => null,
        'configuration' => json_encode($configuration + ['createtime' => '2022-05-01 10:00:00', 'protocol' => 'tcp'], JSON_UNESCAPED_UNICODE),
        'order' => 9999, 'category' => '{"security":"1"}', 'display' => '[]', 'comment' => null, 'tags' => null, 'generic_type' => null,
    ]);
    $id = (int) DB::getLastInsertId();
    $commands = ['Rafraîchir' => 'refresh', 'RAZ statistiques' => 'clearStatistics', 'Opérationnel' => ''];
    $counters = [
        'clientConnections', 'targetConnections', 'mirrorConnections', 'targetErrConnect', 'mirrorErrConnect', 'clientRxPkts', 'clientTxPkts',
        'clientErrPkts', 'targetRxPkts', 'targetTxPkts', 'targetErrPkts', 'mirrorRxPkts', 'mirrorTxPkts', 'mirrorErrPkts',
    ];
    foreach ($counters as $counter) {
        $commands[$counter] = $counter;
    }
    foreach ($commands as $name => $logicalId) {
        $isAction = in_array($logicalId, ['refresh', 'clearStatistics'], true);
        DB::insert('cmd', [
            'eqLogic_id' => $id, 'eqType' => 'trafficmirror', 'logicalId' => $logicalId, 'order' => 1, 'name' => $name, 'configuration' => '[]',
            'template' => '{"dashboard":"core::default"}', 'isHistorized' => '0', 'type' => $isAction ? 'action' : 'info',
            'subType' => $isAction ? 'other' : ($logicalId === '' ? 'binary' : 'numeric'), 'unite' => '', 'display' => '[]', 'isVisible' => 1,
            'value' => null, 'alert' => null, 'generic_type' => null,
        ]);
    }
    return $id;
}

/** @return array<string, string> */
function configured(int $port, string $target = '127.0.0.1', string $mirror = '127.0.0.1'): array
{
    return [
        'localPort' => (string) $port, 'targetHost' => $target, 'targetPort' => '10001', 'mirrorHost' => $mirror, 'mirrorPort' => '10002',
        'targetRx' => '1', 'mirrorRx' => '0',
    ];
}

/** @return array<int, array<string, mixed>> ids, types, logical ids and names of all commands */
function commandsOf(int $id): array
{
    return DB::Prepare('SELECT id, eqType, logicalId, name FROM cmd WHERE eqLogic_id = :id ORDER BY id', ['id' => $id], DB::FETCH_TYPE_ALL);
}

Cases::add('preview, apply, undo: ids are kept, and all is as it was', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $id = trafficmirror('Centrale', configured($port));
    [$row, $commands] = [journal::rows('eqLogic')[$id], commandsOf($id)];
    $jeedom->start();
    $preview = Import::preview();
    Check::same([[$id, 'Centrale', true, 'new', []]], array_map(static function (array $one): array {
        return [$one['id'], $one['name'], $one['enabled'], $one['state'], $one['problems']];
    }, $preview));
    Check::same($row, journal::rows('eqLogic')[$id], 'a preview changes nothing');
    Check::same(['imported' => [$id], 'failed' => []], Import::apply([$id]));
    $eqLogic = eqLogic::byId($id);
    Check::true($eqLogic instanceof domoflux && Wire::answers($port), 'it is ours, and listens');
    $now = array_column(commandsOf($id), null, 'id');
    foreach ($commands as $command) {
        $logicalId = $command['logicalId'] === '' ? 'isListening' : $command['logicalId'];
        Check::same(['domoflux', $logicalId, $command['name']], [
            $now[$command['id']]['eqType'], $now[$command['id']]['logicalId'], $now[$command['id']]['name'],
        ]);
    }
    Check::same(count($now), count(array_unique(array_column($now, 'logicalId'))), 'none is there twice');
    Check::same(1, Jeedom::value($eqLogic, 'isListening'));
    $eqLogic->save();
    Check::same(count($now), count(commandsOf($id)), 'another save makes no more');
    Check::same('imported', Import::preview()[0]['state']);
    Check::same([$id], Import::undo([$id])['imported']);
    Check::true(!Wire::answers($port), 'our flow is gone');
    $back = journal::rows('eqLogic')[$id];
    Check::same(json_decode($row['configuration'], true), json_decode($back['configuration'], true));
    Check::same('trafficmirror', $back['eqType_name']);
    Check::same(array_column($commands, 'name', 'id'), array_column(commandsOf($id), 'name', 'id'));
    Check::same(['trafficmirror'], array_values(array_unique(array_column(commandsOf($id), 'eqType'))));
    Check::same([$id], Import::apply([$id])['imported'], 'and once more');
});

Cases::add('the specs of what persons have', static function (Jeedom $jeedom): void {
    $base = configured(15000, 'alarm.example', '192.168.1.9');
    Check::same([
        'listen' => '0.0.0.0:15000', 'target' => 'alarm.example:10001', 'mirrors' => [['address' => '192.168.1.9:10002', 'from_target' => true]],
    ], Import::spec($base));
    $both = ['targetRx' => '1', 'mirrorRx' => '1'] + $base;
    Check::same(['address' => '192.168.1.9:10002', 'from_target' => true, 'to_client' => true], Import::spec($both)['mirrors'][0]);
    $none = ['targetRx' => '0', 'mirrorRx' => 0] + $base;
    Check::same(['address' => '192.168.1.9:10002'], Import::spec($none)['mirrors'][0]);
    Check::same(['[2001:db8::1]:10001', '[fe80::1]:10002'], [
        Import::spec(configured(1, '2001:db8::1'))['target'], Import::spec(configured(1, 'x', '[fe80::1]'))['mirrors'][0]['address'],
    ]);
    Check::same('udp', Import::spec(['protocol' => 'udp'] + $base)['protocol']);
    Check::true(!isset(Import::spec(['protocol' => ''] + $base)['protocol']), 'an empty protocol is TCP');
    Import::spec([]); // Never configured: no notice of PHP.
    $jeedom->start();
    trafficmirror('IPv6', configured(Wire::freePort(), '::1', '::1'));
    Check::same([], Import::preview()[0]['problems']);
});

Cases::add('one that was never configured is told, and not imported while it is enabled', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $wrong = trafficmirror('Vide', ['localPort' => '', 'targetHost' => ''], 1);
    $disabled = trafficmirror('Vide et désactivé', [], 0);
    $right = trafficmirror('Bon', configured(Wire::freePort()));
    Check::true(array_column(Import::preview(), null, 'id')[$wrong]['problems'] !== [], 'problems');
    $done = Import::apply([$wrong, $disabled, $right, 999]);
    Check::same([$disabled, $right], $done['imported']);
    Check::same([$wrong, 999], array_column($done['failed'], 'id'));
    Check::same('trafficmirror', journal::rows('eqLogic')[$wrong]['eqType_name']);
});

Cases::add('the daemon away, it is imported all the same', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $id = trafficmirror('Sans démon', configured($port));
    Check::same([$id], Import::apply([$id])['imported']);
    $jeedom->start();
    Check::true(Wire::answers($port), 'at its start it listens');
});

Cases::add('an id of another type is refused', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->add('À nous');
    Check::same([(int) $eqLogic->getId()], array_column(Import::apply([(int) $eqLogic->getId()])['failed'], 'id'));
    Check::same([(int) $eqLogic->getId()], array_column(Import::undo([(int) $eqLogic->getId()])['failed'], 'id'));
    Check::same(['imported' => [], 'failed' => []], Import::apply([]));
});

Cases::add('trafficmirror\'s daemon is stopped first and started no more', static function (Jeedom $jeedom): void {
    mkdir($jeedom->path('plugins/trafficmirror/plugin_info'), 0777, true);
    mkdir($jeedom->path('plugins/trafficmirror/core/class'), 0777, true);
    file_put_contents($jeedom->path('plugins/trafficmirror/plugin_info/info.json'), '{"id": "trafficmirror"}');
    file_put_contents($jeedom->path('plugins/trafficmirror/core/class/trafficmirror.class.php'), '<?php
        class trafficmirror extends eqLogic
        {
            public static function deamon_info() { return ["state" => config::byKey("runs", "trafficmirror", "ok"), "launchable" => "ok"]; }
            public static function deamon_stop() { config::save("runs", "nok", "trafficmirror"); }
        }
        class trafficmirrorCmd extends cmd {}');
    config::save('active', 1, 'trafficmirror');
    $id = trafficmirror('Avec démon', configured(Wire::freePort()));
    $jeedom->start();
    Import::preview();
    Check::same('', config::byKey('runs', 'trafficmirror'), 'a preview stops nothing');
    Check::same([$id], Import::apply([$id])['imported']);
    Check::same(['nok', '0'], [config::byKey('runs', 'trafficmirror'), (string) config::byKey('deamonAutoMode', 'trafficmirror')]);
});

Cases::add('an import that fails gives the equipment back', static function (Jeedom $jeedom): void {
    $jeedom->start();
    // The core saves nothing without a name.
    $id = trafficmirror('', configured(Wire::freePort()));
    $before = commandsOf($id);
    $done = Import::apply([$id, $id]);
    Check::same([], $done['imported']);
    Check::same([$id], array_column($done['failed'], 'id'), 'once');
    Check::same([$id], array_column(array_filter(Import::preview(), static function (array $one): bool {
        return $one['state'] === 'new';
    }), 'id'));
    Check::same(array_column($before, 'eqType'), array_column(commandsOf($id), 'eqType'));
    Check::same([], $jeedom->flows());
});
