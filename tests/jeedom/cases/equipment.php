<?php

declare(strict_types=1);

use Domoflux\Rpc;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

Cases::add('saved, it listens; traffic flows both ways and to the mirror; cron5 fills its commands', static function (Jeedom $jeedom): void {
    [$port, $targetPort, $mirrorPort] = [Wire::freePort(), Wire::freePort(), Wire::freePort()];
    [$target, $mirror] = [Wire::listen($targetPort), Wire::listen($mirrorPort)];
    $eqLogic = $jeedom->start()->mirror('Alarme', Jeedom::spec($port, $targetPort, $mirrorPort));
    Check::same(1, Jeedom::value($eqLogic, 'isListening'));
    $client = Wire::connect($port);
    [$atTarget, $atMirror] = [Wire::accept($target), Wire::accept($mirror)];
    Wire::passes($client, $atTarget, 'ping');
    Wire::gets($atMirror, 'ping');
    Wire::passes($atTarget, $client, 'pong!');
    domoflux::cron5();
    $counters = Rpc::call('flow.counters')[$eqLogic->flowId()];
    Check::true(count($counters) > 14, 'counters: ' . count($counters));
    foreach ($counters as $name => $value) {
        Check::same((float) $value, (float) Jeedom::value($eqLogic, $name), $name);
    }
    Check::same([1.0, 1.0, 1.0], [
        Jeedom::value($eqLogic, 'clientConnections'), Jeedom::value($eqLogic, 'targetConnections'), Jeedom::value($eqLogic, 'mirrorConnections'),
    ]);
    Check::true(Jeedom::value($eqLogic, 'clientRxPkts') >= 1.0, 'packets');
    Check::same(['en service', ''], [Jeedom::value($eqLogic, 'state'), Jeedom::value($eqLogic, 'lastError')]);
});

Cases::add('a new equipment has its commands at once, no listener, and says nothing wrong', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->add('Neuf');
    Check::same([], $jeedom->flows());
    Check::same([], $jeedom->alerts());
    $names = array_map(static function (cmd $cmd): string {
        return $cmd->getLogicalId();
    }, $eqLogic->getCmd());
    foreach (['refresh', 'clearStatistics', 'isListening', 'state', 'lastError', 'clientConnections', 'mirrorErrPkts'] as $expected) {
        Check::true(in_array($expected, $names, true), $expected);
    }
    Check::true(!in_array('', $names, true), 'each has a logical id');
    // Enabled as it is, it tells that it is to be configured, and cron5 bears it.
    $eqLogic = Jeedom::form($eqLogic, ['isEnable' => '1']);
    domoflux::cron5();
    Check::same(0, Jeedom::value($eqLogic, 'isListening'));
    Check::same('à configurer', Domoflux\Health::flows()[0]['state']);
});

Cases::add('it is saved as often as one likes', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Encore');
    $commands = count($eqLogic->getCmd());
    for ($i = 0; $i < 3; $i++) {
        $eqLogic = Jeedom::form($eqLogic, ['name' => "Encore $i", 'isEnable' => '1']);
        $eqLogic->save();
    }
    Check::same($commands, count($eqLogic->getCmd()));
    Check::same([], $jeedom->alerts());
});

Cases::add('boxes that the form sends as "1" and "0"', static function (Jeedom $jeedom): void {
    [$port, $targetPort, $mirrorPort] = [Wire::freePort(), Wire::freePort(), Wire::freePort()];
    [$target, $mirror] = [Wire::listen($targetPort), Wire::listen($mirrorPort)];
    $spec = Jeedom::spec($port, $targetPort, $mirrorPort);
    $spec['mirrors'][0]['from_target'] = true;
    $eqLogic = Jeedom::form($jeedom->start()->add('Cases'), [
        'isEnable' => '1', 'isVisible' => '1', 'category' => ['security' => '1', 'light' => '0'], 'configuration' => ['spec' => json_encode($spec)],
    ]);
    $client = Wire::connect($port);
    [$atTarget, $atMirror] = [Wire::accept($target), Wire::accept($mirror)];
    Wire::passes($atTarget, $client, 'answer');
    Wire::gets($atMirror, 'answer');
    $eqLogic = Jeedom::form($eqLogic, ['isEnable' => '0']);
    Check::same('disabled', $jeedom->flows()[$eqLogic->flowId()]['state']);
    Check::true(!Wire::answers($port), 'its listener is gone');
});

Cases::add('a wrong spec is not saved, and all that is wrong is said', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Faux');
    $before = $eqLogic->specText();
    $why = Check::thrown(static function () use ($eqLogic): void {
        Jeedom::form($eqLogic, ['configuration' => ['spec' => '{"listen":"nowhere","target":"x","mirrors":[{"address":"y"}]}']]);
    });
    foreach (['listen', 'target', 'mirrors/0/address'] as $field) {
        Check::has($field . ' : ', $why);
    }
    Check::same($before, Jeedom::reload($eqLogic)->specText());
    Check::same('serving', $jeedom->flows()[$eqLogic->flowId()]['state']);
    foreach (['not JSON', '[1]', '"text"', 'null', '{"listen":'] as $text) {
        Check::has('JSON', Check::thrown(static function () use ($eqLogic, $text): void {
            $wrong = Jeedom::reload($eqLogic);
            $wrong->setConfiguration('spec', $text);
            $wrong->save();
        }));
    }
});

Cases::add('disabled, it is saved with a wrong spec, and runs no more', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Plus tard');
    $eqLogic = Jeedom::form($eqLogic, ['isEnable' => '0', 'configuration' => ['spec' => '{"listen":"nowhere"}']]);
    Check::same('{"listen":"nowhere"}', $eqLogic->specText());
    Check::true(!isset($jeedom->flows()[$eqLogic->flowId()]) || !$jeedom->flows()[$eqLogic->flowId()]['enabled'], 'no flow runs');
    $eqLogic = Jeedom::form($eqLogic, ['configuration' => ['spec' => 'no JSON at all']]);
    domoflux::cron5();
    domoflux::deamon_start();
});

Cases::add('two that want the same port: it is said, at the second', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $jeedom->start()->mirror('Premier', Jeedom::spec($port));
    $said = '';
    try {
        $jeedom->mirror('Second', Jeedom::spec($port));
    } catch (Exception $e) {
        $said = $e->getMessage();
    }
    Check::has((string) $port, $said . implode(' ', $jeedom->alerts()));
    Check::true(Wire::answers($port), 'the first serves');
});

Cases::add('a duplicate has the same commands and is no import', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Original');
    $eqLogic->setConfiguration('imported', ['localPort' => 1]);
    $eqLogic->save();
    $commands = count($eqLogic->getCmd());
    $said = '';
    try {
        $copy = Jeedom::reload($eqLogic)->copy('Copie');
    } catch (Exception $e) {
        $said = $e->getMessage();
    }
    if ($said === '') {
        $copy = Jeedom::reload($copy);
        Check::true($copy->getId() != $eqLogic->getId(), 'another id');
        Check::same('', $copy->getConfiguration('imported'));
        Check::same($commands, count($copy->getCmd()));
        $said = implode(' ', $jeedom->alerts());
        $refused = Check::thrown(static function () use ($copy): void {
            $copy->save();
        });
        Check::has('Original', $refused);
        Jeedom::form($copy, ['isEnable' => '0']);
        Check::same($commands, count(Jeedom::reload($copy)->getCmd()), 'commands after another save');
    }
    Check::has('Original', $said); // whose port it is
    Check::true($jeedom->flows()[$eqLogic->flowId()]['isListening'], 'the original serves');
    Check::true(is_array(Jeedom::reload($eqLogic)->getConfiguration('imported')), 'the original is an import');
});

Cases::add('a command that was deleted stays away, one that was renamed keeps its name', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Ménage');
    $eqLogic->getCmd(null, 'mirrorTxPkts')->remove();
    $renamed = $eqLogic->getCmd(null, 'clientRxPkts');
    $renamed->setName('Reçu de la centrale');
    $renamed->save();
    $eqLogic = Jeedom::form($eqLogic, ['name' => 'Ménage fait']);
    domoflux_update();
    domoflux::cron5();
    Check::same(null, Jeedom::value($eqLogic, 'mirrorTxPkts'));
    Check::same('Reçu de la centrale', Jeedom::reload($eqLogic)->getCmd(null, 'clientRxPkts')->getName());
});

Cases::add('names that clash get another', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $eqLogic = new domoflux();
    $eqLogic->setEqType_name('domoflux');
    $eqLogic->setName('Conflit');
    $eqLogic->save(true);
    foreach (['operationnel', 'ETAT', 'state'] as $name) {
        $own = new domofluxCmd();
        $own->setEqLogic_id($eqLogic->getId());
        $own->setName($name);
        $own->setType('info');
        $own->setSubType('string');
        $own->setLogicalId('own-' . $name);
        $own->save();
    }
    $eqLogic = Jeedom::reload($eqLogic);
    $eqLogic->save();
    Check::same(['isListening', 'État (state)'], [
        Jeedom::reload($eqLogic)->getCmd(null, 'isListening')->getName(), Jeedom::reload($eqLogic)->getCmd(null, 'state')->getName(),
    ]);
    Check::hasNot('[ERROR]', $jeedom->log());
});

Cases::add('commands in English', static function (Jeedom $jeedom): void {
    config::save('language', 'en_US');
    $eqLogic = $jeedom->start()->add('English');
    $names = [];
    foreach ($eqLogic->getCmd() as $cmd) {
        $names[$cmd->getLogicalId()] = $cmd->getName();
    }
    Check::same(['Refresh', 'State'], [$names['refresh'], $names['state']]);
    foreach ($names as $name) {
        Check::true(preg_match('/[À-ÿ]/u', $name) === 0, $name);
    }
});

Cases::add('every command has a type of its own, a unit if it counts bytes or a time, and is what the kind says', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $units = ['bytes' => 'o', 'microseconds' => 'µs', 'packets' => '', 'none' => ''];
    foreach (['mirror', 'multiplexer'] as $kind) {
        $eqLogic = $jeedom->add('Types of ' . $kind, $kind);
        foreach (Domoflux\Kinds::counters($kind) as $counter) {
            $cmd = $eqLogic->getCmd('info', $counter['name']);
            Check::same(['numeric', $units[$counter['unit']]], [$cmd->getSubType(), $cmd->getUnite()], $counter['name']);
            Check::same((int) $counter['main'], (int) $cmd->getIsVisible(), $counter['name'] . ' visible');
            Check::same((int) $counter['history'], (int) $cmd->getIsHistorized(), $counter['name'] . ' historised');
        }
        foreach ($eqLogic->getCmd() as $cmd) {
            Check::true($cmd->getGeneric_type() !== null && $cmd->getGeneric_type() !== '', $cmd->getLogicalId() . ' has a generic type');
        }
    }
});

Cases::add('refresh and clear', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Boutons', Jeedom::spec($port));
    Check::true(Wire::answers($port), 'it listens');
    Check::eventually(static function () use ($eqLogic): bool {
        Jeedom::press($eqLogic, 'refresh');
        return Jeedom::value($eqLogic, 'clientConnections') === 1.0;
    }, 'the client is counted');
    Jeedom::press($eqLogic, 'clearStatistics');
    Check::same(0.0, (float) Jeedom::value($eqLogic, 'clientConnections'));
    Check::same('', Jeedom::value($eqLogic, 'lastError'));
});

Cases::add('removed, its flow is gone', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Adieu', Jeedom::spec($port));
    $eqLogic->remove();
    Check::same([], $jeedom->flows());
    Check::same([], cmd::byEqLogicId($eqLogic->getId() ?? 1));
    Check::true(!Wire::answers($port), 'nobody listens');
    domoflux::cron5();
});

Cases::add('a daemon that is stopped keeps nobody from saving, refreshing, disabling, removing; it is said, and done at its start', static function (
    Jeedom $jeedom
): void {
    [$port, $changed] = [Wire::freePort(), Wire::freePort()];
    $kept = $jeedom->start()->mirror('Gardé', Jeedom::spec($port));
    [$disabled, $gone] = [$jeedom->mirror('Désactivé'), $jeedom->mirror('Retiré')];
    $jeedom->alerts();
    $jeedom->stop();
    $kept = Jeedom::form($kept, ['configuration' => ['spec' => json_encode(Jeedom::spec($changed))]]);
    Check::has('sera appliqué quand le démon tournera', implode($jeedom->alerts()));
    Jeedom::press($kept, 'refresh');
    Check::has('démon', implode($jeedom->alerts()));
    Jeedom::press($kept, 'clearStatistics');
    Jeedom::form($disabled, ['isEnable' => '0']);
    $goneId = $gone->getId();
    $gone->remove();
    Check::has('retiré quand le démon tournera', implode($jeedom->alerts()));
    Check::true(eqLogic::byId($goneId) === false, 'it is out of the database');
    $new = $jeedom->mirror('Nouveau');
    domoflux::cron5();
    $jeedom->start();
    $flows = $jeedom->flows();
    Check::same([true, false, true], [$flows[$kept->flowId()]['enabled'], $flows[$disabled->flowId()]['enabled'], $flows[$new->flowId()]['isListening']]);
    Check::true(!isset($flows['jeedom-' . $goneId]) && count($flows) === 3, 'the removed one is gone');
    Check::same([true, false], [Wire::answers($changed), Wire::answers($port)]);
});

Cases::add('the last equipment removed while the daemon was stopped is gone at its start', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Seul');
    $jeedom->stop();
    $eqLogic->remove();
    $jeedom->start();
    Check::same([], $jeedom->flows());
    Check::same([], $jeedom->messages());
});

Cases::add('a daemon that is away: isListening is 0 and nothing was heard of the equipment', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Silence');
    $eqLogic->setStatus(['lastCommunication' => '2020-01-01 00:00:00', 'timeout' => 1]);
    $jeedom->stop();
    for ($i = 0; $i < 2; $i++) {
        domoflux::cron5();
        Check::same(0, Jeedom::value($eqLogic, 'isListening'));
        Check::same(['2020-01-01 00:00:00', 1], [$eqLogic->getStatus('lastCommunication'), $eqLogic->getStatus('timeout')]);
    }
    $jeedom->start();
    domoflux::cron5();
    Check::same(1, Jeedom::value($eqLogic, 'isListening'));
    Check::true($eqLogic->getStatus('lastCommunication') > '2020-01-01 00:00:00', 'heard of again');
    Check::same(0, $eqLogic->getStatus('timeout'));
});

Cases::add('what lasts is one message, and leaves when it is mended', static function (Jeedom $jeedom): void {
    $jeedom->start()->mirror('Message');
    $jeedom->stop();
    for ($i = 0; $i < 3; $i++) {
        domoflux::cron5();
        $jeedom->newProcess();
    }
    Check::same(1, count($jeedom->messages()));
    $jeedom->start();
    domoflux::cron5();
    Check::same([], $jeedom->messages());
});

Cases::add('a flow that fails for good is one message', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Échec');
    $failed = ['state' => 'failed', 'since' => 0, 'error' => 'the <b>reason</b>', 'isListening' => false] + $jeedom->flows()[$eqLogic->flowId()];
    foreach ([$failed, $failed] as $status) {
        Domoflux\Commands::update(Jeedom::reload($eqLogic), $status, null);
    }
    Check::same(1, count($jeedom->messages()));
    Check::has('reason', $jeedom->messages()[0]);
    Check::hasNot('<b>', $jeedom->messages()[0]);
    Check::same('the <b>reason</b>', Jeedom::value($eqLogic, 'lastError'));
    Jeedom::press($eqLogic, 'refresh');
    Check::same([], $jeedom->messages());
});

Cases::add('an empty database removes no flows, and says so', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Perdu', Jeedom::spec($port));
    DB::Prepare('DELETE FROM eqLogic WHERE id = :id', ['id' => $eqLogic->getId()]);
    $jeedom->stop()->start();
    Check::true(Wire::answers($port), 'it still serves');
    Check::same(1, count($jeedom->messages()));
    Check::has('domoflux flow remove', $jeedom->messages()[0]);
    $jeedom->mirror('Retrouvé');
    Domoflux\Flows::pushAll();
    Check::same([], $jeedom->messages());
});

Cases::add('HTML in names and errors is text', static function (Jeedom $jeedom): void {
    $name = 'Mal<script>alert(1)</script><img src=x onerror=alert(2)>';
    $eqLogic = new domoflux();
    $eqLogic->setEqType_name('domoflux');
    $eqLogic->setName('provisoire');
    (function () use ($name): void {
        $this->name = $name; // As an old core, or a backup, may have left it.
    })->call($eqLogic);
    $eqLogic->save();
    $eqLogic->setIsEnable(1);
    $evil = '{"listen":"<script>alert(3)</script>","target":"<img src=x>","mirrors":[{"address":"\'\"><b>"}]}';
    $jeedom->start();
    $eqLogic->setConfiguration('spec', $evil);
    $why = Check::thrown(static function () use ($eqLogic): void {
        $eqLogic->save();
    });
    $jeedom->stop();
    $eqLogic->save(); // Nobody checks it.
    Jeedom::press($eqLogic, 'refresh');
    domoflux::cron5();
    $jeedom->start();
    $shown = $why . implode($jeedom->alerts()) . implode(array_map('json_encode', domoflux::health())) . domoflux::getConfigForCommunity();
    foreach (message::byPlugin('domoflux') as $message) {
        $shown .= $message->getMessage(true);
    }
    Check::has('&lt;script&gt;', $shown);
    foreach (['<script', '<img', '<b>'] as $tag) {
        Check::hasNot($tag, $shown);
    }
});

Cases::add('a spec with secrets is not in the database in clear', static function (Jeedom $jeedom): void {
    // No kind of today has any: one is made.
    $file = $jeedom->path('plugins/domoflux/core/config/kinds.json');
    $kinds = json_decode(file_get_contents($file), true);
    $secret = ['kind' => 'secretive', 'schema' => ['properties' => ['password' => ['type' => 'string', 'x-secret' => true]]]] + $kinds['fr'][0];
    file_put_contents($file, json_encode(['fr' => [$secret], 'en' => [$secret]]));
    $eqLogic = $jeedom->add('Secret', 'secretive');
    $eqLogic->setConfiguration('spec', '{"password":"hush"}');
    $eqLogic->save();
    Check::same('{"password":"hush"}', $eqLogic->specText());
    Check::same('{"password":"hush"}', Jeedom::reload($eqLogic)->specText());
    Check::same('{"password":"hush"}', eqLogic::byType('domoflux')[0]->specText());
    Check::hasNot('hush', file_get_contents(journal::path()));
    $new = $jeedom->add('Sans secret', 'secretive');
    Check::same('', Jeedom::reload($new)->specText());
});

Cases::add('a kind that comes later has its commands without new PHP', static function (Jeedom $jeedom): void {
    $file = $jeedom->path('plugins/domoflux/core/config/kinds.json');
    $kinds = json_decode((string) file_get_contents($file), true);
    foreach (array_keys($kinds) as $language) {
        $kinds[$language][] = [
            'kind' => 'meter',
            'title' => 'Compteur',
            'description' => '',
            'schema' => ['type' => 'object', 'properties' => ['password' => ['type' => 'string', 'x-secret' => true]]],
            'counters' => [['name' => 'readings', 'title' => 'Relevés', 'unit' => 'none', 'gauge' => false, 'main' => true, 'history' => true]],
        ];
    }
    file_put_contents($file, json_encode($kinds));
    $eqLogic = Jeedom::form($jeedom->add('Eau', 'meter'), ['configuration' => ['spec' => '{"password":"secret"}']]);
    $readings = $eqLogic->getCmd('info', 'readings');
    Check::same(['Relevés', '1'], [$readings->getName(), (string) $readings->getIsHistorized()]);
    Check::same(false, is_object($eqLogic->getCmd('info', 'clientRxBytes')));
    Check::same('{"password":"secret"}', eqLogic::byId($eqLogic->getId())->specText());
    $sql = 'SELECT id, name, isEnable, configuration FROM eqLogic WHERE eqType_name = :type ORDER BY name';
    $kept = DB::Prepare($sql, ['type' => 'domoflux'], DB::FETCH_TYPE_ALL)[0]['configuration'];
    Check::hasNot('secret', $kept, 'not in clear');
    Check::has('crypt:', $kept);
});

Cases::add('what the daemon refuses is seen until it is taken, and tried again', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Têtu');
    $old = json_decode($eqLogic->specText(), true);
    $taken = Wire::listen($port = Wire::freePort());
    $eqLogic = Jeedom::form($eqLogic, ['configuration' => ['spec' => json_encode(['listen' => "127.0.0.1:$port"] + $old)]]);
    Check::same([$old['listen']], $jeedom->flows()[$eqLogic->flowId()]['listening'], 'the old one serves');
    foreach ([1, 2] as $turn) {
        Check::has('réglages précédents', (string) Jeedom::value($eqLogic, 'lastError'));
        Check::has("127.0.0.1:$port", (string) Jeedom::value($eqLogic, 'lastError'));
        domoflux::cron5();
        $messages = array_filter($jeedom->messages(), static function (string $text): bool {
            return strpos($text, 'Têtu') !== false;
        });
        Check::same(1, count($messages), 'one message');
    }
    fclose($taken);
    domoflux::cron5();
    domoflux::cron5();
    Check::same(["127.0.0.1:$port"], $jeedom->flows()[$eqLogic->flowId()]['listening']);
    Check::same('', Jeedom::value($eqLogic, 'lastError'));
    Check::same([], $jeedom->messages());
});
