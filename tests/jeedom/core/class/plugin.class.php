<?php

class plugin
{
    private $id;

    private $data;

    public static function byId($_id, $_full = false)
    {
        $file = __DIR__ . '/../../plugins/' . $_id . '/plugin_info/info.json';
        if (!file_exists($file)) {
            throw new Exception('Plugin introuvable : ' . $_id);
        }
        $plugin = new self();
        $plugin->id = $_id;
        $plugin->data = json_decode(file_get_contents($file), true);
        return $plugin;
    }

    public function getId()
    {
        return $this->id;
    }

    public function getDocumentation()
    {
        return str_replace('#language#', config::byKey('language', 'core', 'fr_FR'), $this->data['documentation'] ?? '');
    }

    public function deamon_changeAutoMode($_mode)
    {
        config::save('deamonAutoMode', $_mode, $this->id);
        if (method_exists($this->id, 'deamon_changeAutoMode')) {
            $this->id::deamon_changeAutoMode($_mode);
        }
    }

    public function deamon_info()
    {
        if (!method_exists($this->id, 'deamon_info')) {
            return ['launchable_message' => '', 'launchable' => 'nok', 'state' => 'nok', 'log' => 'nok', 'auto' => 0];
        }
        $info = $this->id::deamon_info() + ['launchable_message' => '', 'log' => ''];
        $info['auto'] = config::byKey('deamonAutoMode', $this->id, 1);
        return $info;
    }

    /** An exception goes to the log, not to who asked for it. */
    public function deamon_start($_forceRestart = false, $_auto = false)
    {
        if ($_forceRestart) {
            $this->deamon_stop();
        }
        try {
            $info = $this->deamon_info();
            if ($info['launchable'] == 'ok' && $info['state'] == 'nok') {
                $this->id::deamon_start();
            }
        } catch (Throwable $e) {
            log::add($this->id, 'error', __('Erreur sur la fonction deamon_start du plugin :', __FILE__) . ' ' . $e->getMessage());
        }
    }

    public function deamon_stop()
    {
        try {
            if ($this->deamon_info()['state'] == 'ok' && method_exists($this->id, 'deamon_stop')) {
                $this->id::deamon_stop();
            }
        } catch (Throwable $e) {
            log::add($this->id, 'error', __('Erreur sur la fonction deamon_stop du plugin :', __FILE__) . ' ' . $e->getMessage());
        }
    }

    /** Only what an update of an active plugin does: the core stops the daemon, and starts it when it looks after it next. */
    public function setIsEnable($_state, $_force = false, $_foreground = false)
    {
        if ($_state != 1 || config::byKey('active', $this->id, 0) != 1) {
            throw new Exception('the fake knows updates only');
        }
        $auto = config::byKey('deamonAutoMode', $this->id, 1);
        config::save('deamonAutoMode', 0, $this->id);
        $this->deamon_stop();
        if ($this->deamon_info()['state'] == 'ok') {
            $this->deamon_stop();
        }
        ($this->id . '_update')();
        config::save('deamonAutoMode', $auto, $this->id);
        return true;
    }
}
