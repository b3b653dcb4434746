<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The commands of equipment: made from the kind's counters, filled from the daemon.
 */
final class Commands
{
    /** In the cache: the counters that commands have, by flow, so that only those that changed touch the database. */
    private const VALUES = 'domoflux::values';

    /** Units of the core by those of `flow.kinds`. The core turns `o` into Ko, Mo and so on by itself. */
    private const UNITS = ['bytes' => 'o', 'microseconds' => 'µs'];

    /** How long a flow may fail before the message centre hears of it. */
    private const PATIENCE_MS = 60000;

    /**
     * Makes the commands that the equipment never had. One that a person deleted or renamed stays so.
     */
    public static function create(\domoflux $eqLogic): void
    {
        $made = $eqLogic->getConfiguration('commands', []);
        $made = is_array($made) ? $made : [];
        $wanted = self::wanted($eqLogic->kind());
        $missing = array_diff(array_keys($wanted), $made);
        if ($missing === []) {
            return;
        }
        $ids = [];
        foreach ($eqLogic->getCmd() as $cmd) {
            $ids[$cmd->getLogicalId()] = true;
        }
        // Each insert would wait for the disk.
        $own = self::begin();
        try {
            foreach ($missing as $logicalId) {
                if (!isset($ids[$logicalId])) {
                    self::insert($eqLogic, $logicalId, $wanted[$logicalId], (int) array_search($logicalId, array_keys($wanted), true));
                }
            }
            $eqLogic->setConfiguration('commands', array_values(array_unique(array_merge($made, $missing))));
            $eqLogic->save(true);
        } catch (\Throwable $e) {
            // Left open, it would take what the same request writes afterwards.
            if ($own) {
                \DB::rollBack();
            }
            throw $e;
        }
        if ($own) {
            \DB::commit();
        }
    }

    /**
     * Every command that an equipment of the kind has, by logical id.
     *
     * @return array<string, array<string, mixed>>
     */
    private static function wanted(string $kind): array
    {
        $wanted = [
            'isListening' => ['name' => __('Opérationnel', __FILE__), 'type' => 'info', 'subType' => 'binary', 'main' => true, 'generic' => 'GENERIC_INFO'],
            'state' => ['name' => __('État', __FILE__), 'type' => 'info', 'subType' => 'string', 'main' => true, 'generic' => 'GENERIC_INFO'],
            'lastError' => ['name' => __('Dernière erreur', __FILE__), 'type' => 'info', 'subType' => 'string', 'main' => true, 'generic' => 'GENERIC_INFO'],
        ];
        foreach (Kinds::counters($kind) as $counter) {
            $wanted[$counter['name']] = [
                'name' => $counter['title'],
                'type' => 'info',
                'subType' => 'numeric',
                'unite' => self::UNITS[$counter['unit']] ?? '',
                'main' => $counter['main'] ?? true,
                'history' => $counter['history'] ?? false,
                'generic' => 'GENERIC_INFO',
            ];
        }
        return $wanted + [
            'refresh' => ['name' => __('Rafraîchir', __FILE__), 'type' => 'action', 'subType' => 'other', 'main' => true, 'generic' => 'GENERIC_ACTION'],
            'clearStatistics' => ['name' => __('RAZ statistiques', __FILE__), 'type' => 'action', 'subType' => 'other', 'main' => false, 'generic' => 'GENERIC_ACTION'],
        ];
    }

    /** @param array<string, mixed> $wanted */
    private static function insert(\domoflux $eqLogic, string $logicalId, array $wanted, int $order): void
    {
        $cmd = new \domofluxCmd();
        $cmd->setEqLogic_id($eqLogic->getId());
        $cmd->setEqLogic($eqLogic);
        $cmd->setEqType('domoflux');
        $cmd->setLogicalId($logicalId);
        $cmd->setType($wanted['type']);
        $cmd->setSubType($wanted['subType']);
        $cmd->setUnite($wanted['unite'] ?? '');
        $cmd->setIsVisible($wanted['main'] ? 1 : 0);
        $cmd->setIsHistorized(empty($wanted['history']) ? 0 : 1);
        $cmd->setGeneric_type($wanted['generic']);
        $cmd->setOrder($order);
        // Two commands of an equipment can't have the same name, and the database decides which are the same.
        $title = self::nameOf($wanted['name']);
        foreach ([$title, $logicalId, $title . ' (' . $logicalId . ')'] as $name) {
            try {
                $cmd->setName($name);
                $cmd->save();
                return;
            } catch (\Exception $e) {
                $cmd->setId('');
                Notice::log('debug', $name . ': ' . $e->getMessage());
            }
        }
        Notice::log('error', sprintf(__('La commande %1$s de %2$s n\'a pas pu être créée', __FILE__), $logicalId, $eqLogic->getName()));
    }

    /** A title as the name of a command, from which the core takes straight apostrophes out. */
    private static function nameOf(string $title): string
    {
        return str_replace("'", '’', $title);
    }

    // ---- Filling them

    /** Fills the commands of all equipment that is enabled, with one request. */
    public static function updateAll(): void
    {
        $equipment = [];
        foreach (\eqLogic::byType('domoflux', true) as $eqLogic) {
            if ($eqLogic instanceof \domoflux) {
                $equipment[$eqLogic->flowId()] = $eqLogic;
            }
        }
        if ($equipment === []) {
            return;
        }
        try {
            $told = Rpc::batch(['flows' => ['flow.list', ['owner' => Flows::OWNER]], 'counters' => ['flow.counters']]);
        } catch (AwayException | RpcException $e) {
            Notice::log('warning', $e->getMessage());
            if (!Notice::isKept('daemon')) {
                // Else why it did not start stands there.
                Notice::keep('daemon', $e->getMessage());
            }
            foreach ($equipment as $eqLogic) {
                self::away($eqLogic);
            }
            return;
        }
        Notice::mended('daemon');
        $standing = self::standing();
        $values = self::values();
        foreach ($told['flows'] as $status) {
            $id = $status['id'];
            if (isset($equipment[$id])) {
                $eqLogic = $equipment[$id];
                $counters = $told['counters'][$id] ?? [];
                self::guarded($eqLogic, static function () use ($eqLogic, $status, $standing, $counters, $id, &$values): void {
                    self::fillStatus($eqLogic, $status, $standing[$eqLogic->getId()] ?? []);
                    $values[$id] = self::fillCounters($eqLogic, $counters, $values[$id] ?? []);
                });
                unset($equipment[$id]);
            }
        }
        \cache::set(self::VALUES, $values);
        foreach (array_keys(Flows::refused()) as $flowId) {
            // What was in its way may have gone.
            $eqLogic = Flows::equipment($flowId);
            if ($eqLogic !== null) {
                Flows::push($eqLogic, false);
            }
        }
        foreach ($equipment as $eqLogic) {
            // It is enabled and the daemon does not know it: nobody has filled in its form, or a push was lost.
            self::away($eqLogic);
            // As it is now: meanwhile somebody may have removed or disabled it.
            $now = Flows::equipment($eqLogic->flowId());
            if ($now !== null && $now->specText() !== '' && (int) $now->getIsEnable() === 1) {
                Flows::push($now, false);
            }
        }
    }

    /**
     * A value makes the core run scenarios, plugins and templates: what fails there for one equipment does not keep the others
     * from their values, nor the daemon from telling more. One that somebody removes meanwhile fails, too, and that is nothing.
     */
    public static function guarded(\domoflux $eqLogic, callable $do): void
    {
        try {
            $do();
        } catch (\Throwable $e) {
            $isGone = Flows::equipment($eqLogic->flowId()) === null;
            Notice::log($isGone ? 'debug' : 'error', $eqLogic->getName() . ' : ' . $e->getMessage());
        }
    }

    /**
     * Fills the commands of one equipment.
     *
     * @param array<string, mixed> $status as `flow.status` answers
     * @param array<string, int|float>|null $counters null: not known
     */
    public static function update(\domoflux $eqLogic, array $status, ?array $counters): void
    {
        $standing = [];
        foreach ($eqLogic->getCmd('info') as $cmd) {
            $standing[$cmd->getLogicalId()] = $cmd;
        }
        self::fillStatus($eqLogic, $status, $standing);
        if ($counters !== null) {
            $values = self::values();
            $values[$eqLogic->flowId()] = self::fillCounters($eqLogic, $counters, $values[$eqLogic->flowId()] ?? []);
            \cache::set(self::VALUES, $values);
        }
    }

    /**
     * @param array<string, mixed> $status
     * @param array<string, \cmd> $cmds at least those of the status, by logical id
     */
    private static function fillStatus(\domoflux $eqLogic, array $status, array $cmds): void
    {
        self::watch($eqLogic, $status);
        if ((int) $eqLogic->getIsEnable() !== 1) {
            return;
        }
        $texts = [
            'state' => self::stateText((string) $status['state']),
            'lastError' => self::wrong($status),
        ];
        foreach ($texts as $logicalId => $text) {
            if (isset($cmds[$logicalId]) && (string) $cmds[$logicalId]->execCmd() !== (string) $cmds[$logicalId]->formatValue($text)) {
                $cmds[$logicalId]->setEqLogic($eqLogic);
                $cmds[$logicalId]->event($text);
            }
        }
        // The one that is written each time: by it, the core knows that the equipment is heard of.
        if (isset($cmds['isListening'])) {
            $cmds['isListening']->setEqLogic($eqLogic);
            $eqLogic->checkAndUpdateCmd($cmds['isListening'], $status['isListening'] ? 1 : 0);
        }
    }

    /**
     * @param array<string, int|float> $counters
     * @param array<string, int|float> $before the values that the commands have
     * @return array<string, int|float> those that they have now
     */
    private static function fillCounters(\domoflux $eqLogic, array $counters, array $before): array
    {
        if ((int) $eqLogic->getIsEnable() !== 1) {
            return [];
        }
        $changed = array_diff_assoc($counters, $before);
        if ($changed !== []) {
            foreach ($eqLogic->getCmd('info') as $cmd) {
                if (isset($changed[$cmd->getLogicalId()])) {
                    self::fillCounter($eqLogic, $cmd, $changed[$cmd->getLogicalId()]);
                }
            }
        }
        return $counters + $before;
    }

    /** @param int|float $value beyond 2^31 a float, where PHP is of 32 bits */
    private static function fillCounter(\domoflux $eqLogic, \cmd $cmd, $value): void
    {
        if ((float) $value === 0.0 && $cmd->execCmd() === '') {
            // The first value of a new command. As an event, thirty of them would take half a second.
            $now = date('Y-m-d H:i:s');
            $cmd->setCache(['value' => 0, 'valueDate' => $now, 'collectDate' => $now]);
        } else {
            $eqLogic->checkAndUpdateCmd($cmd, $value);
        }
    }

    /**
     * The commands of the status of all equipment, with one query.
     *
     * @return array<int|string, array<string, \cmd>> by equipment and logical id
     */
    private static function standing(): array
    {
        $sql = 'SELECT ' . \DB::buildField('cmd') . ' FROM cmd WHERE eqType = :type AND type = :info'
            . " AND logicalId IN ('isListening', 'state', 'lastError')";
        $cmds = \DB::Prepare($sql, ['type' => 'domoflux', 'info' => 'info'], \DB::FETCH_TYPE_ALL, \PDO::FETCH_CLASS, 'domofluxCmd');
        $standing = [];
        foreach ($cmds as $cmd) {
            $standing[$cmd->getEqLogic_id()][$cmd->getLogicalId()] = $cmd;
        }
        return $standing;
    }

    /** The daemon does not serve it; it is not heard of, so the core's own monitoring shall see that it is not. */
    public static function away(\domoflux $eqLogic): void
    {
        if ((int) $eqLogic->getIsEnable() !== 1) {
            return;
        }
        $cmd = $eqLogic->getCmd('info', 'isListening');
        if (!is_object($cmd) || (string) $cmd->execCmd() === '0') {
            return;
        }
        $heard = $eqLogic->getStatus('lastCommunication');
        $timeout = $eqLogic->getStatus('timeout');
        $cmd->event(0);
        $eqLogic->setStatus(['lastCommunication' => $heard, 'timeout' => $timeout]);
    }

    /** The command "refresh": everything about one equipment, now. */
    public static function refresh(\domoflux $eqLogic): void
    {
        self::withDaemon($eqLogic, static function () use ($eqLogic): void {
            $id = $eqLogic->flowId();
            $told = Rpc::batch(['status' => ['flow.status', ['id' => $id]], 'counters' => ['flow.counters', ['ids' => [$id]]]]);
            self::update($eqLogic, $told['status'], $told['counters'][$id] ?? []);
        });
    }

    /** The command "clearStatistics". */
    public static function clear(\domoflux $eqLogic): void
    {
        self::withDaemon($eqLogic, static function () use ($eqLogic): void {
            Rpc::call('flow.reset_counters', ['id' => $eqLogic->flowId()]);
            self::refresh($eqLogic);
        });
    }

    private static function withDaemon(\domoflux $eqLogic, callable $do): void
    {
        try {
            $do();
        } catch (AwayException $e) {
            self::away($eqLogic);
            Notice::alert($eqLogic->getName() . ' : ' . $e->getMessage());
        } catch (RpcException $e) {
            self::away($eqLogic);
            Notice::alert($eqLogic->getName() . ' : ' . $e->getMessage(), 'danger');
        }
    }

    /**
     * What lasts goes to the message centre, once, and leaves it when it is mended.
     *
     * @param array<string, mixed> $status
     */
    private static function watch(\domoflux $eqLogic, array $status): void
    {
        if (isset(Flows::refused()[$eqLogic->flowId()])) {
            return; // What the message says, if there is one, is about that.
        }
        $fails = in_array($status['state'], ['backoff', 'failed'], true);
        if (!$fails) {
            Notice::mended($eqLogic->flowId());
        } elseif ($status['state'] === 'failed' || microtime(true) * 1000 - (float) $status['since'] > self::PATIENCE_MS) {
            Notice::keep($eqLogic->flowId(), $eqLogic->getHumanName() . ' : ' . ($status['error'] ?? ''), Notice::linkTo($eqLogic));
        }
    }

    /**
     * What is wrong now, '' if nothing is: why it does not serve, or what does not answer it.
     *
     * @param array<string, mixed> $status
     */
    public static function wrong(array $status): string
    {
        $refused = Flows::refused()[$status['id']] ?? '';
        if ($refused !== '') {
            return sprintf(__('fonctionne encore avec les réglages précédents : %s', __FILE__), $refused);
        }
        return (string) ($status['error'] ?? implode(' ; ', array_column($status['troubles'] ?? [], 'text')));
    }

    public static function stateText(string $state): string
    {
        $texts = [
            'starting' => __('démarre', __FILE__),
            'serving' => __('en service', __FILE__),
            'backoff' => __('en échec, nouvel essai', __FILE__),
            'failed' => __('en échec', __FILE__),
            'disabled' => __('désactivé', __FILE__),
        ];
        return $texts[$state] ?? $state;
    }

    /** @return array<string, array<string, int|float>> */
    private static function values(): array
    {
        $values = \cache::byKey(self::VALUES)->getValue();
        return is_array($values) ? $values : [];
    }

    /** Begins a transaction, unless there is one. */
    private static function begin(): bool
    {
        if (\DB::getConnection()->inTransaction()) {
            return false;
        }
        \DB::beginTransaction();
        return true;
    }
}
