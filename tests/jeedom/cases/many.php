<?php

declare(strict_types=1);

use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Proxy;
use Domoflux\Tests\Wire;

Cases::add('cron5 with 200 equipments is one request', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $proxy = new Proxy($jeedom);
    $port = Wire::freePort();
    $equipment = [];
    for ($i = 0; $i < 200; $i++) {
        $spec = ['listen' => '127.0.' . (1 + intdiv($i, 100)) . '.' . (1 + $i % 100) . ':' . $port] + Jeedom::spec($port);
        $eqLogic = new domoflux();
        $eqLogic->setEqType_name('domoflux');
        $eqLogic->setName("Flux $i");
        $eqLogic->setIsEnable(1);
        $eqLogic->setConfiguration('kind', 'mirror');
        $eqLogic->setConfiguration('spec', json_encode($spec));
        $eqLogic->save(true); // Pushed below, all at once.
        Domoflux\Commands::create($eqLogic);
        $equipment[] = $eqLogic;
    }
    Domoflux\Flows::pushAll();
    domoflux::cron5(); // The first fills everything.
    $proxy->calls();
    $statements = DB::$statements;
    $started = microtime(true);
    domoflux::cron5();
    printf("       cron5 of 200: %d ms, %d statements\n", (microtime(true) - $started) * 1000, DB::$statements - $statements);
    Check::same(1, $proxy->calls(), 'requests');
    Check::same([1, 1], [Jeedom::value($equipment[0], 'isListening'), Jeedom::value($equipment[199], 'isListening')]);
    Check::same(200, count($jeedom->flows()));
    $proxy->end();
});
