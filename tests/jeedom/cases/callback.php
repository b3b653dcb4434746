<?php

declare(strict_types=1);

use Domoflux\Callback;
use Domoflux\Rpc;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

const PAGE = '/plugins/domoflux/core/php/jeeDomoflux.php';

Cases::add('who has not the key gets 401 and nothing else', static function (Jeedom $jeedom): void {
    domoflux_install();
    $url = $jeedom->serve() . PAGE;
    $key = \jeedom::getApiKey('domoflux');
    config::save('test::userHash', str_repeat('u', 32));
    $bodies = [
        '', 'no JSON', '[]', 'null', '1', '{}', '{"key":null}', '{"key":""}', '{"key":["' . $key . '"]}', '{"key":"wrong"}',
        json_encode(['key' => substr($key, 0, -1)]), json_encode(['key' => $key . ' ']), json_encode(['key' => str_repeat('u', 32)]),
        '{"key":"' . $key . '"' . str_repeat(',"x":[', 100) . str_repeat(']', 100), str_repeat('x', 3000000),
        '{"x":"' . str_repeat('x', 1100000) . '","key":"' . $key . '"}',
    ];
    foreach ($bodies as $body) {
        Check::same([401, ''], Wire::http('POST', $url, $body), substr($body, 0, 40));
    }
    Check::same([401, ''], Wire::http('POST', $url . '?key=' . $key . '&apikey=' . $key, '{}'), 'a key in the address');
    foreach (['GET', 'PUT', 'DELETE', 'OPTIONS'] as $method) {
        Check::same([405, ''], Wire::http($method, $url, $method === 'GET' ? '' : json_encode(['key' => $key])), $method);
    }
    Check::same([200, ''], Wire::http('POST', $url, json_encode(['key' => $key, 'events' => []])), 'the right key');
});

Cases::add('a key that was turned off in Jeedom is refused', static function (Jeedom $jeedom): void {
    domoflux_install();
    $url = $jeedom->serve() . PAGE;
    $body = json_encode(['key' => \jeedom::getApiKey('domoflux'), 'events' => []]);
    Check::same(200, Wire::http('POST', $url, $body)[0]);
    // From another machine, the web server says.
    Check::same(401, Wire::http('POST', $url, $body, ['X-Forwarded-For: 192.168.1.9'])[0]);
    config::save('api::domoflux::mode', 'disable', 'core');
    Check::same(401, Wire::http('POST', $url, $body)[0]);
});

Cases::add('events that make no sense are taken and change nothing', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Stable');
    $key = \jeedom::getApiKey('domoflux');
    $lists = [null, 'text', 7, [null], ['text'], [[]], [['kind' => 'status']], [['kind' => 'status', 'flow' => ['x']]], [['kind' => 'odd', 'flow' => 'panel']]];
    foreach (['jeedom-999', "jeedom-1' OR 1=1", 'jeedom-', 'other-' . $eqLogic->getId()] as $flow) {
        $lists[] = [['kind' => 'status', 'flow' => $flow]];
    }
    foreach ($lists as $events) {
        Check::same(200, Callback::receive(json_encode(['key' => $key, 'events' => $events])), json_encode($events));
    }
    Check::same(1, Jeedom::value($eqLogic, 'isListening'));
});

Cases::add('the daemon tells at once what changes, and no key is in an address', static function (Jeedom $jeedom): void {
    domoflux_install();
    $jeedom->serve();
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Rappel', Jeedom::spec($port));
    // At the daemon's start everything is pushed; that is to be over.
    Check::eventually(static function (): bool {
        $status = Rpc::call('callback.status');
        return $status['delivered'] > 0 && $status['waiting'] === 0;
    }, 'the start is told');
    // By somebody else, not by Jeedom.
    Rpc::call('flow.apply', ['id' => $eqLogic->flowId(), 'owner' => 'jeedom', 'kind' => 'mirror', 'spec' => Jeedom::spec($port), 'enabled' => false]);
    Check::eventually(static function () use ($eqLogic): bool {
        return Jeedom::value($eqLogic, 'isListening') === 0 && Jeedom::value($eqLogic, 'state') === 'désactivé';
    }, 'the change arrives');
    Check::eventually(static function () use ($jeedom): bool {
        return strpos($jeedom->log('http'), 'POST ' . PAGE) !== false;
    }, 'the access log has it');
    Check::hasNot(\jeedom::getApiKey('domoflux'), $jeedom->log('http') . $jeedom->log('domoflux_daemon') . $jeedom->log());
    Check::hasNot('?', $jeedom->log('http'));
    Check::true((int) cache::byKey(Callback::HEARD)->getValue(0) >= time() - 60, 'it was heard of');
    Check::has('OK, ' . date('Y-m-d'), domoflux::health()[1]['result']);
});

Cases::add('an error of a target comes by the callback', static function (Jeedom $jeedom): void {
    domoflux_install();
    $jeedom->serve();
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Sans cible', Jeedom::spec($port));
    Check::true(Wire::answers($port), 'a client comes');
    Check::eventually(static function () use ($eqLogic): bool {
        return strpos((string) Jeedom::value($eqLogic, 'lastError'), '127.0.0.1:9') !== false;
    }, 'the last error is told');
});

Cases::add('a daemon that was started by itself gets what it missed', static function (Jeedom $jeedom): void {
    domoflux_install();
    $jeedom->serve();
    $first = $jeedom->start()->mirror('Avant');
    $second = $jeedom->mirror('Pendant');
    // As if it had been saved while the daemon was away.
    Rpc::call('flow.remove', ['id' => $second->flowId()]);
    posix_kill($jeedom->daemonPid(), SIGKILL);
    Check::eventually(static function () use ($jeedom, $second): bool {
        try {
            return isset($jeedom->flows()[$second->flowId()]);
        } catch (Domoflux\AwayException $e) {
            return false;
        }
    }, 'the flow is pushed');
    Check::eventually(static function () use ($first): bool {
        return Jeedom::value($first, 'isListening') === 1;
    }, 'all is well');
});

Cases::add('missed events: everything is read anew', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Manqué');
    foreach (['isListening', 'state'] as $logicalId) {
        $eqLogic->getCmd('info', $logicalId)->setCache('value', 'old');
    }
    Check::same(200, Callback::receive(json_encode(['key' => \jeedom::getApiKey('domoflux'), 'missed' => true, 'events' => []])));
    Check::same([1, 'en service'], [Jeedom::value($eqLogic, 'isListening'), Jeedom::value($eqLogic, 'state')]);
});

Cases::add('events about many flows are one question', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $events = [];
    for ($i = 0; $i < 6; $i++) {
        $events[] = ['kind' => 'status', 'flow' => $jeedom->mirror("M$i")->flowId(), 'text' => 'serving'];
    }
    Check::same(200, Callback::receive(json_encode(['key' => \jeedom::getApiKey('domoflux'), 'events' => $events])));
});

Cases::add('a web server that comes back gets what was kept', static function (Jeedom $jeedom): void {
    domoflux_install();
    $eqLogic = $jeedom->start()->mirror('Patience');
    Check::eventually(static function (): bool {
        return Rpc::call('callback.status')['failing'];
    }, 'nobody takes it');
    Rpc::call('flow.remove', ['id' => $eqLogic->flowId()]);
    $jeedom->serve();
    Check::eventually(static function () use ($jeedom, $eqLogic): bool {
        return isset($jeedom->flows()[$eqLogic->flowId()]) && !Rpc::call('callback.status')['failing'];
    }, 'the start is told, and what the daemon lacks is pushed');
});

Cases::add('the address is by loopback and has the complement', static function (Jeedom $jeedom): void {
    config::save('internalPort', 8081);
    config::save('internalComplement', '/jeedom/');
    Check::same('http://127.0.0.1:8081/jeedom/plugins/domoflux/core/php/jeeDomoflux.php', Callback::url());
    config::save('callback', 'http://127.0.0.1:8090/', 'domoflux');
    Check::same('http://127.0.0.1:8090/plugins/domoflux/core/php/jeeDomoflux.php', Callback::url());
});
