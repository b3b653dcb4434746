<?php

// What the plugin costs a real Jeedom: saving an equipment beside the core's own time, and cron5. It makes equipment, measures, and
// removes it. Run it as the web server's user, with the daemon running:
//
//   sudo -u www-data php tests/jeedom/bench.php /var/www/html [200]
//
// Without equipment of its own it would measure yours, so it takes only a Jeedom that has none.

[$jeedom, $many] = [$argv[1] ?? '/var/www/html', (int) ($argv[2] ?? 200)];
require $jeedom . '/core/php/core.inc.php';
if (eqLogic::byType('domoflux') !== []) {
    exit("there is domoflux equipment here: not measured\n");
}
// Kept away from ports in use by refusing nothing: 127.0.0.2 has hardly anything on it.
$make = static function (int $n): domoflux {
    $eqLogic = new domoflux();
    $eqLogic->setEqType_name('domoflux');
    $eqLogic->setName('bench ' . $n);
    $eqLogic->setIsEnable(1);
    $eqLogic->setConfiguration('kind', 'mirror');
    $eqLogic->setConfiguration('spec', json_encode([
        'listen' => '127.0.0.2:' . (20000 + $n),
        'target' => '127.0.0.2:19999',
        'mirrors' => [['address' => '127.0.0.2:19998']],
    ]));
    return $eqLogic;
};
$median = static function (array $ms): float {
    sort($ms);
    return $ms[intdiv(count($ms), 2)];
};
$time = static function (callable $do): float {
    $start = microtime(true);
    $do();
    return (microtime(true) - $start) * 1000;
};
$show = static function (string $what, array $ms) use ($median): void {
    printf("%-44s median %7.1f ms, most %7.1f ms, %d times\n", $what, $median($ms), max($ms), count($ms));
};

$made = [];
try {
    $first = $again = $core = [];
    for ($n = 0; $n < $many; $n++) {
        $made[] = $eqLogic = $make($n);
        $first[] = $time([$eqLogic, 'save']);
    }
    foreach (array_slice($made, 0, 50) as $n => $eqLogic) {
        $eqLogic->setConfiguration('comment', "core $n");
        $core[] = $time(static function () use ($eqLogic): void {
            $eqLogic->save(true);
        });
        $eqLogic->setConfiguration('comment', "plugin $n");
        $again[] = $time([$eqLogic, 'save']);
    }
    $show('a new equipment with its commands', $first);
    $show('an equipment once more', $again);
    $show('the same, the core\'s own part', $core);
    printf("over the core's own time: %.1f ms\n", $median($again) - $median($core));
    printf("cron5 with %d equipments, first values: %.0f ms\n", $many, $time(['domoflux', 'cron5']));
    $steady = [];
    for ($i = 0; $i < 10; $i++) {
        $steady[] = $time(['domoflux', 'cron5']);
    }
    $show("cron5 with $many equipments", $steady);
    $rpc = [];
    for ($i = 0; $i < 10; $i++) {
        $rpc[] = $time(static function (): void {
            Domoflux\Rpc::batch(['flows' => ['flow.list', ['owner' => 'jeedom']], 'counters' => ['flow.counters']]);
        });
    }
    $show('of which the call to the daemon', $rpc);
} finally {
    foreach ($made as $eqLogic) {
        $eqLogic->remove();
    }
}
