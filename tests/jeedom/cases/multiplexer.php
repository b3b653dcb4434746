<?php

declare(strict_types=1);

use Domoflux\Kinds;
use Domoflux\Rpc;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

/** A Modbus/TCP frame. */
function modbus(int $transaction, int $unit, string $pdu): string
{
    return pack('nnnC', $transaction, 0, strlen($pdu) + 1, $unit) . $pdu;
}

/** Reads a request at the device, and answers it with two registers. @param resource $device */
function answers($device, int $value): void
{
    $asked = fread($device, 12);
    Check::same(12, strlen((string) $asked), 'a request');
    fwrite($device, substr($asked, 0, 4) . pack('nCCCnn', 7, ord($asked[6]), 3, 4, 0, $value));
}

Cases::add('two clients share one connection to a device, and each gets its own answer', static function (Jeedom $jeedom): void {
    [$port, $devicePort] = [Wire::freePort(), Wire::freePort()];
    $listener = Wire::listen($devicePort);
    $spec = ['listen' => "127.0.0.1:$port", 'protocol' => 'modbus', 'target' => "127.0.0.1:$devicePort", 'health_check_interval' => 0];
    $eqLogic = Jeedom::form($jeedom->start()->add('Onduleur', 'multiplexer'), [
        'isEnable' => '1', 'isVisible' => '1', 'configuration' => ['spec' => json_encode($spec)],
    ]);
    Check::same(1, Jeedom::value($eqLogic, 'isListening'));
    [$one, $two] = [Wire::connect($port), Wire::connect($port)];
    fwrite($one, modbus(7, 1, pack('Cnn', 3, 100, 2)));
    $device = Wire::accept($listener);
    answers($device, 41);
    Wire::gets($one, modbus(7, 1, pack('CCnn', 3, 4, 0, 41)));
    fwrite($two, modbus(7, 9, pack('Cnn', 3, 200, 2)));
    answers($device, 42);
    Wire::gets($two, modbus(7, 9, pack('CCnn', 3, 4, 0, 42)));
    domoflux::cron5();
    foreach (['requests' => 2.0, 'answers' => 2.0, 'targetConnections' => 1.0, 'activeConnections' => 2.0] as $name => $value) {
        Check::same($value, (float) Jeedom::value($eqLogic, $name), $name);
    }
    $counters = Rpc::call('flow.counters')[$eqLogic->flowId()];
    foreach ($counters as $name => $value) {
        Check::true(is_object($eqLogic->getCmd('info', $name)), $name . ' has a command');
    }
    // What the core takes out of a name would be missed in a title.
    foreach (Kinds::counters('multiplexer') as $counter) {
        Check::same(str_replace("'", '’', $counter['title']), $eqLogic->getCmd('info', $counter['name'])->getName());
    }
});

Cases::add('what the form makes of a multiplexer is good', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $spec = json_decode((string) file_get_contents(__DIR__ . '/../../js/multiplexer.json'));
    Check::same(['ok' => true, 'problems' => []], Rpc::call('flow.check', ['kind' => 'multiplexer', 'spec' => $spec]));
    $spec->in_flight = 0;
    $checked = Rpc::call('flow.check', ['kind' => 'multiplexer', 'spec' => $spec]);
    Check::same(['/spec/in_flight', 'de 1 à 1024 requêtes sont possibles'], [$checked['problems'][0]['pointer'], $checked['problems'][0]['message']]);
});
