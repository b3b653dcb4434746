<?php

/*
 * This file is part of domoflux, a plugin of Jeedom. It is free software under the GPL, version 3 or later.
 */

require_once __DIR__ . '/../../../../core/php/core.inc.php';
require_once __DIR__ . '/autoload.php';

use Domoflux\Backup;
use Domoflux\Callback;
use Domoflux\Commands;
use Domoflux\Daemon;
use Domoflux\Flows;
use Domoflux\Health;
use Domoflux\Install;
use Domoflux\Kinds;
use Domoflux\Notice;
use Domoflux\Setup;
use Domoflux\Widget;

/**
 * An equipment: one flow of the daemon.
 *
 * The core calls what is here. What is done is in the classes of the namespace Domoflux, one a role.
 */
class domoflux extends eqLogic
{
    /** @var array<string, mixed> */
    public static $_widgetPossibility = ['custom' => true, 'custom::layout' => false];

    /** @var string of an equipment that is being removed; the core's object has no id any more at the end */
    private $_flowId = '';

    // ---- The daemon and its dependencies

    /** @return array<string, string> */
    public static function deamon_info()
    {
        return Daemon::info();
    }

    public static function deamon_start()
    {
        Daemon::start();
    }

    public static function deamon_stop()
    {
        if (!Install::isUnderWay()) {
            Daemon::stop();
        }
    }

    /** @param int|string $_mode 1: at boot, 0: only when somebody starts it */
    public static function deamon_changeAutoMode($_mode)
    {
        Daemon::atBoot((int) $_mode === 1);
    }

    /** @return array<string, string> */
    public static function additionnalDependancyCheck()
    {
        return Setup::state();
    }

    /** The core calls it as root when the dependencies were installed; it stopped the daemon before. */
    public static function dependancy_end()
    {
        Install::dependenciesDone();
    }

    // ---- What the core calls by the clock

    /** The core tells no plugin that its log level was changed. */
    public static function cron()
    {
        Daemon::followLogLevel();
    }

    public static function cron5()
    {
        Commands::updateAll();
        Callback::follow();
    }

    // ---- Backups, health, help

    public static function backup()
    {
        Backup::write();
    }

    public static function restore()
    {
        Backup::announce();
    }

    /** @return string[] */
    public static function backupExclude()
    {
        return Backup::excluded();
    }

    /** @return array<int, array<string, mixed>> */
    public static function health()
    {
        return Health::rows();
    }

    /** @return string */
    public static function getConfigForCommunity()
    {
        return Health::forCommunity();
    }

    // ---- The port of the API, a setting of the plugin

    /**
     * @param mixed $_value
     * @return string
     */
    public static function preConfig_port($_value)
    {
        return Daemon::checkedPort(trim((string) $_value));
    }

    /**
     * @param mixed $_value
     * @return string
     */
    public static function preConfig_callback($_value)
    {
        return Daemon::checkedCallback(trim((string) $_value));
    }

    // ---- An equipment

    /** @return string the flow's id in the daemon */
    public function flowId()
    {
        return Flows::PREFIX . $this->getId();
    }

    /** @return string the flow's kind */
    public function kind()
    {
        return (string) $this->getConfiguration('kind', Kinds::FIRST);
    }

    /** @return string the spec as JSON text; empty if nobody has filled in the form yet */
    public function specText()
    {
        return (string) $this->getConfiguration('spec', '');
    }

    public function preInsert()
    {
        // A duplicate was not imported, only its original was.
        $this->setConfiguration('imported', null);
        if ($this->getConfiguration('kind', '') === '') {
            $this->setConfiguration('kind', Kinds::FIRST);
        }
    }

    public function preUpdate()
    {
        Flows::refuseIfWrong($this);
    }

    public function postSave()
    {
        Commands::create($this);
        Flows::push($this);
    }

    public function preRemove()
    {
        $this->_flowId = $this->flowId();
        Flows::remove($this);
    }

    public function postRemove()
    {
        // Until now it was in the database, and a cron5 may have brought its flow back.
        Flows::removeAgain($this->_flowId);
    }

    /** A setting that is secret is not kept in clear. */
    public function encrypt()
    {
        if (Kinds::hasSecrets($this->kind())) {
            $this->setConfiguration('spec', utils::encrypt($this->specText()));
        }
    }

    public function decrypt()
    {
        if (Kinds::hasSecrets($this->kind())) {
            $this->setConfiguration('spec', utils::decrypt($this->specText()));
        }
    }

    /**
     * @param string $_version dashboard or mobile
     * @return string
     */
    public function toHtml($_version = 'dashboard')
    {
        return Widget::html($this, $_version);
    }
}

class domofluxCmd extends cmd
{
    /** @param array<string, mixed> $_options */
    public function execute($_options = [])
    {
        $eqLogic = $this->getEqLogic();
        if (!$eqLogic instanceof domoflux) {
            return;
        }
        switch ($this->getLogicalId()) {
            case 'refresh':
                Commands::refresh($eqLogic);
                break;
            case 'clearStatistics':
                Commands::clear($eqLogic);
                break;
            default:
                Notice::log('debug', 'no action ' . $this->getLogicalId());
        }
    }
}
